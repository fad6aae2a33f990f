"""A verdict is looked up in every trial that fits; outside the table it is "not measured"."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_outcomes import TASK, a_table, a_trial, at, with_private

from fedrad.errors import SettingsError
from fedrad.planning.outcomes import SCRATCH, Trial, full_parameters, read_outcomes, recipe_of
from fedrad.planning.readings import Situation, judge
from fedrad.planning.verdict import verdict
from fedrad.provenance import Provenance
from fedrad.task import Task
from simulations.scenario import read_scenario


def a_start(digest: str) -> Provenance:
    return Provenance(source="us", data="films", licence="CC0-1.0", digest=digest)


def test_another_network_size_or_start_is_not_measured() -> None:
    model = replace(TASK.model, initial="w.safetensors", provenance=a_start("a" * 64))
    others = {
        "no trial has the network": replace(
            TASK, model=replace(TASK.model, parameters={"width": 32})
        ),
        "measured on images of 64 × 64, the task's are 32 × 32": replace(
            TASK, recipe=replace(TASK.recipe, size=(32, 32))
        ),
        "measured from another start: scratch": replace(TASK, model=model),
        "the task is without privacy": replace(TASK, privacy=replace(TASK.privacy, enabled=False)),
    }
    for said, task in others.items():
        found = verdict(at(150, 150, task=task), a_table())
        assert (found.answer, found.readings, found.changes) == ("not measured", (), ())
        assert said in found.reasons[0]
        assert bool(found.ways) == task.privacy.enabled


def test_parameters_that_are_the_defaults_are_the_same_network() -> None:
    named = replace(TASK, model=replace(TASK.model, parameters={"width": 16, "pool": "top"}))
    assert verdict(at(150, 150, task=named), a_table()).answer == "doubtful"


def test_a_small_site_gains_from_a_large_federation_and_a_large_one_loses_in_a_small() -> None:
    assert verdict(at(50, 400), a_table()).answer == "go"
    assert verdict(at(400, 150), a_table()).answer == "no"


def test_what_would_change_the_answer_is_the_least_measured_step_on_each_axis() -> None:
    wide = a_trial("wide", parameters=full_parameters("filter_bank_cnn", {"width": 32}))
    found = verdict(at(150, 150, 2.0), a_table(a_trial(), with_private(wide, 0.95)))
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


@given(st.integers(1, 500), st.floats(10, 500), st.floats(1.0, 10.0))
def test_what_would_be_better_is_what_the_planner_then_says(
    patients: int, mean: float, epsilon: float
) -> None:
    """Every line is the same look-up with one thing changed, never a rule of its own."""
    situation = at(patients, mean, epsilon)
    found = verdict(situation, a_table())
    for line in found.changes:
        what, said, answer = line.partition(" (")[0].replace(",", ":").split(": ")
        number = float(said.split()[0]) if what != "more patients" else float(said.split()[3])
        axis = "epsilon" if what == "a larger epsilon" else "mean_patients"
        changed = replace(situation, **{axis: number})
        assert verdict(changed, a_table()).answer == answer != found.answer


def test_a_step_that_only_one_of_two_trials_likes_would_not_change_the_answer() -> None:
    poor = with_private(a_trial("poor", data="other"), 0.52)
    found = verdict(at(150, 150), a_table(a_trial(), poor))
    assert (found.answer, found.changes) == ("no", ())


def test_of_two_trials_that_decide_the_worse_counts_and_all_are_shown() -> None:
    poor = with_private(a_trial("poor", data="other"), 0.52)
    found = verdict(at(50, 400), a_table(a_trial(), poor))
    assert found.answer == "no"
    assert [readings.trial for readings in found.readings] == ["made-up", "poor"]
    less = replace(poor, baselines=poor.baselines[:2], cells=poor.cells[:4])
    beyond = verdict(at(50, 400), a_table(a_trial(), less))
    assert beyond.answer == "go"
    assert [readings.answer for readings in beyond.readings] == ["go", "not measured"]


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
        task = _task_of(trial)
        for cell in trial.cells:
            situation = Situation(
                task=task,
                epsilon=cell.epsilon,
                patients=cell.patients,
                mean_patients=float(cell.patients),
                sites=trial.sites,
            )
            found = verdict(situation, replace(table, trials=(trial,)))
            (evidence,) = found.readings[0].nearest
            base = trial.baseline(cell.patients)
            gains = [p - a for p, a in zip(cell.private, base.alone, strict=True)]
            assert fmean(evidence.gain) == pytest.approx(fmean(gains))
            assert found.answer == judge(evidence.kept, tuple(gains), margin=0.02)


def test_sites_that_were_measured_to_gain_are_not_told_no() -> None:
    """``pneumonia`` with 110 patients a site: docs/results.md has private above alone."""
    task = read_scenario("pneumonia")[1]
    assert verdict(at(110, 110, task=task), read_outcomes()).answer != "no"


def _task_of(trial: Trial) -> Task:
    scenario = "lungs_private" if trial.kind == "segmentation" else "four_hospitals"
    task = read_scenario(scenario)[1]
    model = replace(task.model, name=trial.network, parameters=trial.parameters)
    if trial.start != SCRATCH:
        digest, _, trained = trial.start.partition(" ")
        found = a_start(digest)
        model = replace(model, initial="w.safetensors", provenance=found, trained=trained)
    return replace(
        task,
        model=model,
        recipe=replace(task.recipe, size=trial.size),
        privacy=replace(task.privacy, delta=trial.delta),
    )
