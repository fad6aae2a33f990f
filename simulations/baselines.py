"""Run the arms that a federation is compared with, on two cores at once.

For every arm the same three rates are tried on a fifth of the training patients, the best
is trained on all of them, and the result is scored once on the test patients. Jobs are
independent and each process keeps the datasets it has read.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedrad.errors import NonFiniteUpdateError
from fedrad.metrics.classification import auroc
from fedrad.parameters import Parameters, load_whole
from simulations import arms, tuning
from simulations.arms import Study
from simulations.places import home_of
from simulations.worker import one_thread
from site_client.dataset import load_split
from site_client.measure import positive_labels
from site_client.training.predict import case_dice, scores
from site_client.training.source import PatientSource, kept_features

Floats = npt.NDArray[np.float64]
Arm = Literal["alone", "pooled", "federated"]
Step = Callable[[str], None]

_kept: dict[tuple[Path, str, str], PatientSource] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: an arm at a rate, on all its training patients or on four fifths."""

    run: Path
    study: Study
    arm: Arm
    sites: tuple[str, ...]
    rate: float
    trial: bool  # train on four fifths and return the score on the fifth


@dataclass(frozen=True, slots=True)
class Trained:
    """What an arm made: its parameters and the rate that won."""

    parameters: Parameters
    rate: float


def train_arms(run: Path, study: Study, rates: tuple[float, ...], step: Step) -> dict[str, Trained]:
    """Train every arm.

    Args:
        run: The run folder with the sites' homes.
        study: What the arms share.
        rates: Candidate learning rates.
        step: Told after each finished training.

    Returns:
        ``alone SITE`` for each site, ``pooled`` and, for a private task, ``federated``;
        without those that diverged.
    """
    names = tuple(sorted(study.contract.sites))
    wanted: dict[str, tuple[Arm, tuple[str, ...]]] = {
        **{f"alone {name}": ("alone", (name,)) for name in names},
        "pooled": ("pooled", names),
    }
    if study.task.privacy.enabled:  # else the run itself is this arm
        wanted["federated"] = ("federated", names)
    with workers() as pool:
        trials = {
            (key, rate): Job(run=run, study=study, arm=arm, sites=sites, rate=rate, trial=True)
            for key, (arm, sites) in wanted.items()
            for rate in rates
        }
        judged = _each(pool, trials, _try_rate, step)
        best = {key: tuning.best_rate({r: judged[key, r] for r in rates}) for key in wanted}
        finals = {key: replace(trials[key, best[key]], trial=False) for key in wanted}
        made = _each(pool, finals, _train, step)
    return {key: Trained(made[key], best[key]) for key in wanted if made[key] is not None}


def count_trainings(study: Study, rates: int) -> int:
    """Return how many trainings ``train_arms`` does."""
    arms_wanted = len(study.contract.sites) + 1 + study.task.privacy.enabled
    return arms_wanted * (rates + 1)


@contextmanager
def workers(count: int = 2) -> Iterator[ProcessPoolExecutor]:
    """Open worker processes of one thread each; an interruption ends them."""
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=one_thread)
    try:
        yield pool
    except BaseException:
        at_work = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in at_work:  # Python 3.14 has terminate_workers for this
            process.terminate()
        raise
    pool.shutdown()


def site_source(run: Path, study: Study, site: str, split: str) -> PatientSource:
    """Return one split of one site, kept by this process with what a fixed stem makes of it."""
    key = (run, site, split)
    if key not in _kept:
        dataset = load_split(home_of(run, site), study.task, split)  # type: ignore[arg-type]
        _kept[key] = kept_features(study.module(), dataset, study.task)
    return _kept[key]


def values_of(study: Study, parameters: Parameters, source: PatientSource) -> Floats:
    """Return one number a patient: its score, or its Dice for a segmentation."""
    module = study.module()
    load_whole(module, parameters)
    if study.task.task.kind == "segmentation":
        return case_dice(module, source)[0]
    return scores(module, source, positive=study.task.positive_index)


def quality(study: Study, values: Floats, source: PatientSource) -> float:
    """Return the primary metric of one source: AUROC, or mean Dice."""
    if study.task.task.kind == "segmentation":
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    return auroc(values, positive_labels(source, study.task))


def _each(
    pool: ProcessPoolExecutor, jobs: dict[Any, Job], work: Callable[[Job], Any], step: Step
) -> dict[Any, Any]:
    futures = {pool.submit(work, job): key for key, job in jobs.items()}
    found = {}
    for future in as_completed(futures):
        found[futures[future]] = future.result()
        step(f"trained {len(found)} of {len(jobs)}")
    return found


def _try_rate(job: Job) -> float:
    sources = _sources(job)
    try:
        model = _fit(job, {name: tuning.fit_part(source) for name, source in sources.items()})
    except NonFiniteUpdateError:
        return float("nan")  # a rate that diverges never wins
    judges = {name: tuning.judge_part(source) for name, source in sources.items()}
    found = [
        quality(job.study, values_of(job.study, model, judge), judge) for judge in judges.values()
    ]
    finite = [value for value in found if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _train(job: Job) -> Parameters | None:
    try:
        return _fit(job, _sources(job))
    except NonFiniteUpdateError:
        return None  # fine on four fifths, diverged on all: the arm has no model


def _sources(job: Job) -> dict[str, PatientSource]:
    return {name: site_source(job.run, job.study, name, "train") for name in job.sites}


def _fit(job: Job, sources: dict[str, PatientSource]) -> Parameters:
    if job.arm == "alone":
        (name,) = job.sites
        return arms.train_alone(job.study, name, sources[name], rate=job.rate)
    train = arms.train_pooled if job.arm == "pooled" else arms.train_federated
    return train(job.study, sources, rate=job.rate)
