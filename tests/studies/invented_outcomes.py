"""A table of outcomes that was invented: the demo's network, better with patients and epsilon.

Two seeds 0.02 apart; an ``alone`` that rises with the cohort, a federation without privacy
that does not. Nothing here was measured.
"""

from __future__ import annotations

from dataclasses import replace

from fedrad.planning.outcomes import SCRATCH, Baseline, Cell, Outcomes, Trial, full_parameters
from fedrad.planning.readings import Situation
from fedrad.task import Task
from simulations.scenario import read_scenario

TASK = read_scenario("four_hospitals")[1]
PATIENTS, EPSILONS = (50, 150, 400), (2.0, 8.0)
PRIVATE = {  # what a cell reached: the mean of both seeds
    (50, 2.0): 0.55, (150, 2.0): 0.66, (400, 2.0): 0.84,
    (50, 8.0): 0.62, (150, 8.0): 0.865, (400, 8.0): 0.95,
}  # fmt: skip
ALONE = {50: 0.80, 150: 0.88, 400: 0.94}


def two(mean: float) -> tuple[float, float]:
    return mean - 0.01, mean + 0.01


def a_trial(name: str = "made-up", **fields: object) -> Trial:
    """Return the invented trial; ``fields`` replace its own."""
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
    return replace(base, **fields)  # type: ignore[arg-type]


def with_private(trial: Trial, mean: float) -> Trial:
    """Return a trial that reached one score everywhere."""
    return replace(trial, cells=tuple(replace(c, private=two(mean)) for c in trial.cells))


def a_table(*trials: Trial) -> Outcomes:
    return Outcomes(
        schema=1, measured="", command="", code="", versions={}, trials=trials or (a_trial(),)
    )


def at(patients: int, mean: float, epsilon: float = 8.0, task: Task = TASK) -> Situation:
    """Return one site of three."""
    return Situation(task=task, epsilon=epsilon, patients=patients, mean_patients=mean, sites=3)
