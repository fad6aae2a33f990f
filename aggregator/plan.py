"""Plan a study before anybody signs: what it costs each site, and what it would reach.

The coordinator knows agreed numbers of patients only. What both sides compute is in
``fedrad.planning``; the contract itself is ``planning``'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aggregator.planning import letters
from fedrad.errors import SettingsError
from fedrad.models.networks import build
from fedrad.planning.effort import measured, on_threads, plain_probe
from fedrad.planning.forecast import (
    AUDIT_FOR_TRAINING,
    Cohort,
    Forecast,
    Measured,
    Wishes,
    refuse_patients,
    study_forecast,
)
from fedrad.planning.outcomes import read_outcomes
from fedrad.planning.traffic import traffic
from fedrad.task import Task, read_task

THREADS = 1  # of the probe: what site.toml gives a round unless it says otherwise
_WHAT = (
    "forward and backward alone; clipping and noise come on top, and `fedrad-site plan` "
    "measures them where the training will run"
)


def plan_study(
    task_path: Path, patients: Sequence[int], *, audit: Sequence[int] = (), wishes: Wishes
) -> Forecast:
    """Return the forecast of a study.

    Args:
        task_path: The task file.
        patients: Training patients of each site.
        audit: Audit patients of each site; empty: in the default proportion of site.toml.
        wishes: What is asked beyond the task.

    Raises:
        SettingsError: The task or a number of patients cannot be used.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    task = read_task(task_path)
    refuse_patients("--patients", patients, least=task.federation.quorum)
    if audit and len(audit) != len(patients):
        line = f"{len(patients)} sites have training patients and {len(audit)} have audit patients"
        raise SettingsError("--audit", (line,))
    held_out = audit or [round(count * AUDIT_FOR_TRAINING) for count in patients]
    cohorts = {
        letter: Cohort(train=train, audit=held)
        for letter, train, held in zip(letters(len(patients)), patients, held_out, strict=True)
    }
    return study_forecast(task, cohorts, measure(task, cohorts), wishes=wishes)


def measure(task: Task, cohorts: Mapping[str, Cohort]) -> Measured:
    """Return what a forecast needs to know of the task's network, timed here.

    Args:
        task: The study's task.
        cohorts: At least one site; the largest draw is timed.
    """
    module = build(task, seed=0)
    batch = max(
        min(task.training.expected_batch_patients, cohort.agreed) for cohort in cohorts.values()
    )
    with on_threads(THREADS):
        probe = plain_probe(task, module)
        effort = measured(probe, what=_WHAT, task=task, expected_batch=batch)
    return Measured(outcomes=read_outcomes(), traffic=traffic(task, module), effort=effort)
