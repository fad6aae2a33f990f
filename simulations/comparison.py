"""Was it worth it? Score every arm on the same test patients, from local files.

Simulation only: these numbers come straight from the sites' datasets, never from a
message. The statistic is the difference federated minus alone at each site, paired by
patient, with a 95 % bootstrap interval, Holm's correction over the sites, and "cannot tell"
where the interval holds 0 or a class is too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from aggregator import checkpoints, tables
from aggregator.comparison import Comparison, SiteComparison, Verdict
from aggregator.lineage import standing_round
from fedrad import seeds
from fedrad.errors import RunError
from fedrad.metrics.intervals import (
    Difference,
    holm,
    paired_difference,
    paired_mean_difference,
    verdict,
)
from fedrad.parameters import Parameters
from fedrad.task import Task
from simulations.arms import Study
from simulations.baselines import Trained, quality, site_source, values_of, workers
from site_client.measure import positive_labels
from site_client.training.source import PatientSource

Floats = npt.NDArray[np.float64]
NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan)  # alone diverged
CHANCE = 0.5  # AUROC of a score that knows nothing
_WINNER: dict[str, Verdict] = {
    "better": "federated",
    "worse": "alone",
    "cannot tell": "cannot tell",
}
RUN = "run"  # the arm that the engine ran: the last checkpoint
NOTE = (
    "Simulation only, from local files: every arm is scored on the same test patients, which no "
    "message carries. Alone, pooled and federated without privacy choose the best of the same "
    "learning rates on training patients; the run itself keeps the task's rate. Every arm draws a "
    "site's training patients at the same rate and for the same number of steps, but a site that "
    "declined or missed rounds of the run trained less in it."
)


@dataclass(frozen=True, slots=True)
class Scored:
    """One site's test patients under every arm."""

    site: str
    n: int
    positive: int  # of them with the positive class, or with something to segment
    smallest: int  # patients in the smaller class; of a segmentation, with a reference
    quality: dict[str, float]
    difference: Difference


def compare(run: Path, study: Study, trained: Mapping[str, Trained]) -> Comparison:
    """Score every arm at every site and return what ``comparison.json`` holds.

    Raises:
        RunError: The run has no finished round.
    """
    models = {key: arm.parameters for key, arm in trained.items()} | {RUN: final_model(run)}
    names = sorted(study.contract.sites)
    with workers() as pool:
        found = list(
            pool.map(_score_site, *zip(*[(run, study, n, models) for n in names], strict=True))
        )
    adjusted = holm([scored.difference.p for scored in found])
    return Comparison(
        primary=primary(study.task),
        sites=tuple(_site_row(study, scored, p) for scored, p in zip(found, adjusted, strict=True)),
        note=NOTE,
        rates={key: arm.rate for key, arm in trained.items()},
    )


def with_spread(found: Sequence[Comparison | None]) -> Comparison | None:
    """Return the first seed's comparison with every seed's difference at each site."""
    present = [comparison for comparison in found if comparison is not None]
    if not present:
        return None
    spread: dict[str, tuple[float, ...]] = {}
    for comparison in present:
        for site in comparison.sites:
            if site.difference is not None:
                spread[site.site] = (*spread.get(site.site, ()), site.difference)
    return replace(present[0], seeds=len(present), spread=spread)


def final_model(run: Path) -> Parameters:
    """Return what the round released whose model the run stands on.

    Raises:
        RunError: There is none.
    """
    last = standing_round(run)
    if not last:
        raise RunError(f"{run} has no finished round to compare")
    return checkpoints.read_released(run, last)


def primary(task: Task) -> Literal["auroc", "dice_mean"]:
    """Return the name of what is compared."""
    return "dice_mean" if task.task.kind == "segmentation" else "auroc"


def rows(comparison: Comparison, round_number: int) -> Iterator[tables.Metric]:
    """Yield the arms' scores as rows of ``metrics``: exact, on test patients.

    The run's own model is ``global``; in a run without privacy it is also the exact arm.
    """
    private = any(site.federated_private is not None for site in comparison.sites)
    arms = {
        "alone": "alone",
        "pooled": "pooled",
        **({"federated-exact": "federated_exact"} if private else {}),
        "global": "federated_private" if private else "federated_exact",
    }
    for site in comparison.sites:
        for model, name in arms.items():
            value = getattr(site, name)
            if value is not None:
                yield tables.Metric(
                    round=round_number,
                    site=site.site,
                    model=model,
                    data_site=site.site,
                    split="test",
                    metric=comparison.primary,
                    value=value,
                    lo=None,
                    hi=None,
                    n=float(site.n),
                    method="exact",
                )


def _score_site(run: Path, study: Study, site: str, models: dict[str, Parameters]) -> Scored:
    source = site_source(run, study, site, "test")
    names = {"alone": f"alone {site}", "pooled": "pooled", "federated": "federated", RUN: RUN}
    present = {arm: models[key] for arm, key in names.items() if key in models}
    values = {arm: values_of(study, model, source) for arm, model in present.items()}
    scores = {arm: quality(study, found, source) for arm, found in values.items()}
    scores["trivial"] = _trivial(run, study, source)
    rng = seeds.stream(study.seed, site, 0, "bootstrap")
    if study.task.task.kind == "segmentation":
        kept = np.isfinite(values[RUN])
        difference = (
            paired_mean_difference(values[RUN][kept], values["alone"][kept], rng)
            if "alone" in values
            else NO_DIFFERENCE
        )
        return Scored(site, len(source), int(kept.sum()), int(kept.sum()), scores, difference)
    labels = positive_labels(source, study.task)
    difference = (
        paired_difference(values[RUN], values["alone"], labels, rng)
        if "alone" in values
        else NO_DIFFERENCE
    )
    positive = int(labels.sum())
    smallest = min(positive, len(source) - positive)
    return Scored(site, len(source), positive, smallest, scores, difference)


def _trivial(run: Path, study: Study, source: PatientSource) -> float:
    """Return what needs no learning: chance, or the mean mask of all training patients."""
    if study.task.task.kind != "segmentation":
        return CHANCE
    mean = mean_mask(
        [site_source(run, study, site, "train") for site in sorted(study.contract.sites)]
    )
    found = [_dice(mean, source.record(i).masks) for i in range(len(source))]
    return float(np.nanmean(found))


def mean_mask(sources: list[PatientSource]) -> npt.NDArray[np.bool_]:
    """Return where at least half of all training masks lie, ([D,] H, W)."""
    total, count = 0.0, 0
    for source in sources:
        for index in range(len(source)):
            masks = source.record(index).masks
            if masks is not None:
                total, count = total + masks[:, 0].astype(np.float64).sum(0), count + len(masks)
    return np.asarray(total >= count / 2)


def _dice(guess: npt.NDArray[np.bool_], masks: npt.NDArray[np.uint8] | None) -> float:
    if masks is None or not masks.any():
        return float("nan")
    found = [
        2 * (guess & truth).sum() / (guess.sum() + truth.sum())
        for truth in masks[:, 0].astype(bool)
        if truth.any()
    ]
    return float(np.mean(found))


def _site_row(study: Study, scored: Scored, p_holm: float) -> SiteComparison:
    found, difference = scored.quality, scored.difference
    private, least = study.task.privacy.enabled, study.task.analysis.minimum_per_class
    told = verdict(difference, adjusted_p=p_holm, smallest_class=scored.smallest, minimum=least)
    whom = "with a reference" if study.task.task.kind == "segmentation" else "in a class"
    few = f"fewer than {least} test patients {whom}" if scored.smallest < least else ""
    return SiteComparison(
        site=scored.site,
        label=study.contract.sites[scored.site].label,
        n=scored.n,
        n_positive=scored.positive,
        alone=_finite(found.get("alone")),
        federated_private=_finite(found[RUN]) if private else None,
        federated_exact=_finite(found.get("federated") if private else found[RUN]),
        pooled=_finite(found.get("pooled")),
        trivial=_finite(found["trivial"]),
        difference=_finite(difference.value),
        lo=_finite(difference.lo),
        hi=_finite(difference.hi),
        p_holm=_finite(p_holm),
        verdict=_WINNER[told],
        reason=few,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
