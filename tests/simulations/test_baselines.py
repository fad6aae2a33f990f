"""The jobs behind the comparison: which there are, and how they end."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT, SEED, SITES, TinyStudy, copy_study

from simulations import baselines
from simulations.arms import Study
from simulations.baselines import Job, count_trainings, quality, workers


def job(study: TinyStudy, rate: float, **fields: object) -> Job:
    arms = Study(task=study.task, contract=study.contract, seed=SEED)
    given = {"arm": "alone", "sites": ("east",), "trial": True, **fields}
    return Job(run=study.run, study=arms, rate=rate, **given)  # type: ignore[arg-type]


def test_an_interruption_ends_the_workers_in_the_middle_of_a_job() -> None:
    before = set(multiprocessing.active_children())
    start_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _interrupted()
    ours = set(multiprocessing.active_children()) - before
    for process in ours:
        process.join(20)
    assert not any(process.is_alive() for process in ours)
    assert time.monotonic() - start_s < 100


def _interrupted() -> None:
    with workers() as pool:
        pool.submit(time.sleep, 0).result()
        pool.submit(time.sleep, 300)
        raise KeyboardInterrupt


@pytest.mark.parametrize("arm", ["alone", "pooled", "federated"])
def test_every_arm_gives_a_score_between_zero_and_one(study: TinyStudy, arm: str) -> None:
    sites = ("south",) if arm == "alone" else SITES
    assert 0 <= baselines._try_rate(job(study, 0.2, arm=arm, sites=sites)) <= 1


def test_a_rate_that_diverges_scores_nothing(hospitals: Path, tmp_path: Path) -> None:
    steps = ("training.steps=40", "training.optimiser={name='sgd', weight_decay=1.0}")
    study = copy_study(hospitals, tmp_path / "run", *EXACT, *steps)
    assert math.isnan(baselines._try_rate(job(study, 1e6)))


def test_a_private_task_has_one_more_arm(hospitals: Path, tmp_path: Path) -> None:
    private, exact = (copy_study(hospitals, tmp_path / n, *s) for n, s in (("p", ()), ("e", EXACT)))
    assert count_trainings(job(private, 0.1).study, 3) == 6 * 4
    assert count_trainings(job(exact, 0.1).study, 3) == 5 * 4


def test_the_quality_of_no_scored_patient_is_not_a_number(study: TinyStudy) -> None:
    task = study.task
    arms = Study(task=task, contract=study.contract, seed=SEED)

    class Nobody:
        def __len__(self) -> int:
            return 0

        def record(self, index: int, /) -> None:
            raise IndexError

    assert math.isnan(quality(arms, np.array([]), Nobody()))  # type: ignore[arg-type]
