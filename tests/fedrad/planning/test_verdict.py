"""A verdict is a measured cell, read downwards; outside the table it is "not measured"."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.planning.outcomes import (
    SCRATCH,
    Baseline,
    Cell,
    Outcomes,
    Trial,
    full_parameters,
    read_outcomes,
    recipe_of,
)
from fedrad.planning.verdict import Situation, judge, verdict
from fedrad.provenance import Provenance
from fedrad.task import Task
from simulations.scenario import read_scenario

TASK = read_scenario("four_hospitals")[1]
PATIENTS, EPSILONS = (50, 150, 400), (2.0, 8.0)
PRIVATE = {  # what a cell reached: the mean of two seeds 0.02 apart
    (50, 2.0): 0.55, (150, 2.0): 0.66, (400, 2.0): 0.84,
    (50, 8.0): 0.62, (150, 8.0): 0.865, (400, 8.0): 0.95,
}  # fmt: skip
ALONE = {50: 0.80, 150: 0.88, 400: 0.94}


def two(mean: float) -> tuple[float, float]:
    return mean - 0.01, mean + 0.01


def a_trial(name: str = "made-up", **fields: object) -> Trial:
    """Return a trial of the demo's network whose numbers are invented for the test."""
    base = Trial(
        name=name,
        data="invented",
        kind="classification",
        network="filter_bank_cnn",
        parameters=full_parameters("filter_bank_cnn", {}),
        size=(64, 64),
        start=SCRATCH,
        delta=1e-5,
        sites=3,
        test_patients=100,
        seeds=(1, 2),
        plain="any",
        baselines=tuple(
            Baseline(patients=n, trivial=(0.5, 0.5), alone=two(ALONE[n]), federated=two(0.96))
            for n in PATIENTS
        ),
        cells=tuple(
            Cell(patients=n, epsilon=e, sigma=1.0, recipe="any", private=two(PRIVATE[n, e]))
            for n in PATIENTS
            for e in EPSILONS
        ),
    )
    return replace(base, **fields)


def a_table(*trials: Trial) -> Outcomes:
    return Outcomes(
        schema=1, measured="", command="", code="", versions={}, trials=trials or (a_trial(),)
    )


def at(patients: int, mean: float, epsilon: float = 8.0, task: Task = TASK) -> Situation:
    return Situation(task=task, epsilon=epsilon, patients=patients, mean_patients=mean, sites=3)


@pytest.mark.parametrize(
    ("kept", "gain", "answer"),
    [
        ((0.9, 0.95), (-0.02, 0.1), "go"),
        ((0.89, 0.95), (0.1, 0.1), "doubtful"),
        ((0.95, 0.95), (-0.021, 0.1), "doubtful"),
        ((0.95, 0.95), (0.85 - 0.87, 0.86 - 0.88), "go"),  # ties, whatever floats make of them
        ((0.95, 0.95), (-0.021, -0.03), "no"),
        ((0.4, 0.59), (0.1, 0.1), "no"),
        ((0.4, 0.61), (0.1, 0.1), "doubtful"),
    ],
)
def test_the_rule_at_its_limits(
    kept: tuple[float, ...], gain: tuple[float, ...], answer: str
) -> None:
    assert judge(kept, gain, margin=0.02) == answer


@given(st.lists(st.tuples(st.floats(-0.5, 1.1), st.floats(-0.5, 0.5)), min_size=1, max_size=5))
def test_a_better_seed_never_makes_a_verdict_worse(seeds: list[tuple[float, float]]) -> None:
    rank = {"no": 0, "doubtful": 1, "go": 2}
    kept, gain = zip(*seeds, strict=True)
    better = judge(tuple(k + 0.1 for k in kept), tuple(g + 0.1 for g in gain), margin=0.02)
    assert rank[better] >= rank[judge(kept, gain, margin=0.02)]


@given(st.integers(50, 400), st.floats(50, 400), st.floats(2.0, 8.0))
def test_a_study_is_never_credited_with_more_than_it_has(
    patients: int, mean: float, epsilon: float
) -> None:
    (found,) = verdict(at(patients, mean, epsilon), a_table()).evidence
    assert found.patients <= mean
    assert found.epsilon <= epsilon
    assert found.alone_patients >= patients
    assert found.private == two(PRIVATE[found.patients, found.epsilon])


@pytest.mark.parametrize(
    ("situation", "said"),
    [
        (at(49, 150), "50 to 400 patients a site were measured, the site has 49"),
        (at(401, 150), "50 to 400 patients a site were measured, the site has 401"),
        (at(50, 500), "the sites have in the mean 500"),
        (at(50, 150, 1.99), "epsilon 2 to 8 was measured, the study costs 1.99"),
        (at(50, 150, 8.01), "the study costs 8.01"),
        (replace(at(50, 150), sites=2), "3 sites were measured, the study has 2"),
    ],
)
def test_outside_the_table_nothing_is_claimed(situation: Situation, said: str) -> None:
    found = verdict(situation, a_table())
    assert (found.answer, found.evidence, found.changes) == ("not measured", (), ())
    assert said in found.reasons[0]


def test_another_network_size_start_or_delta_is_not_measured() -> None:
    provenance = Provenance(source="us", data="films", licence="CC0-1.0", digest="a" * 64)
    model = replace(TASK.model, initial="w.safetensors", provenance=provenance)
    others = {
        "no trial has the network": replace(
            TASK, model=replace(TASK.model, parameters={"width": 32})
        ),
        "measured on images of 64 × 64, the task's are 32 × 32": replace(
            TASK, recipe=replace(TASK.recipe, size=(32, 32))
        ),
        "measured from another start: scratch": replace(TASK, model=model),
        "delta 1e-06 is below the measured 1e-05": replace(
            TASK, privacy=replace(TASK.privacy, delta=1e-6)
        ),
        "the task is without privacy": replace(TASK, privacy=replace(TASK.privacy, enabled=False)),
    }
    for said, task in others.items():
        found = verdict(at(150, 150, task=task), a_table())
        assert found.answer == "not measured"
        assert said in found.reasons[0]


def test_parameters_that_are_the_defaults_are_the_same_network() -> None:
    named = replace(TASK, model=replace(TASK.model, parameters={"width": 16, "pool": "top"}))
    assert verdict(at(150, 150, task=named), a_table()).answer == "doubtful"


def test_a_small_site_gains_from_a_large_federation_and_a_large_one_loses_in_a_small() -> None:
    assert verdict(at(50, 400), a_table()).answer == "go"
    assert verdict(at(400, 150), a_table()).answer == "no"


def test_what_would_change_the_answer_is_the_least_measured_step_on_each_axis() -> None:
    wide = a_trial("wide", parameters=full_parameters("filter_bank_cnn", {"width": 32}))
    strong = replace(wide, cells=tuple(replace(c, private=two(0.95)) for c in wide.cells))
    found = verdict(at(150, 150, 2.0), a_table(a_trial(), strong))
    assert found.answer == "no"
    assert [line.partition(": ")[0] for line in found.changes] == [
        "a larger epsilon, 8",
        "another network, filter_bank_cnn width=32",
    ]
    grown = verdict(at(150, 150), a_table())
    assert [line.partition(": ")[0] for line in grown.changes] == [
        "more patients, a mean of 400 a site"
    ]
    assert verdict(at(50, 400), a_table()).changes == ()


def test_of_two_trials_that_fit_the_worse_counts() -> None:
    poor = a_trial("poor", data="other", cells=tuple(
        replace(cell, private=two(0.52)) for cell in a_trial().cells
    ))  # fmt: skip
    found = verdict(at(50, 400), a_table(a_trial(), poor))
    assert found.answer == "no"
    assert [evidence.trial for evidence in found.evidence] == ["made-up", "poor"]


def test_the_reason_names_seeds_spread_and_a_recipe_that_differs() -> None:
    found = verdict(at(50, 400), a_table())
    assert "AUROC 0.950 (0.940 to 0.960)" in found.reasons[0]
    assert "seeds 1, 2" in found.reasons[0]
    assert f"measured with any, the task has {recipe_of(TASK)}" in found.reasons[0]


def test_a_table_with_a_hole_or_a_missing_seed_is_refused() -> None:
    whole = a_trial()
    with pytest.raises(SettingsError, match="without holes"):
        replace(whole, cells=whole.cells[1:])
    short = replace(whole.cells[0], private=(0.5,))
    with pytest.raises(SettingsError, match="1 scores for 2 seeds"):
        replace(whole, cells=(short, *whole.cells[1:]))
    with pytest.raises(SettingsError, match="no baseline of this cohort"):
        replace(whole, baselines=whole.baselines[1:])


def test_every_cell_of_the_table_that_is_shipped_is_judged_by_its_own_seeds() -> None:
    table = read_outcomes()
    assert table.trials
    for trial in table.trials:
        assert len(trial.seeds) >= 3
        for cell in trial.cells:
            task = _task_of(trial)
            situation = Situation(
                task=task,
                epsilon=cell.epsilon,
                patients=cell.patients,
                mean_patients=float(cell.patients),
                sites=trial.sites,
            )
            found = verdict(situation, replace(table, trials=(trial,)))
            (evidence,) = found.evidence
            base = trial.baseline(cell.patients)
            gains = [p - a for p, a in zip(cell.private, base.alone, strict=True)]
            assert fmean(evidence.gain) == pytest.approx(fmean(gains))
            assert found.answer == judge(evidence.kept, tuple(gains), margin=0.02)


def _task_of(trial: Trial) -> Task:
    scenario = "lungs_private" if trial.kind == "segmentation" else "four_hospitals"
    task = read_scenario(scenario)[1]
    model = replace(task.model, name=trial.network, parameters=trial.parameters)
    return replace(task, model=model)
