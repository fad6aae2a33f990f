"""Segmentation from sums: a site files its patients' Dice, the aggregator reads it off.

Each patient is one record: the mean Dice over the images whose reference is not empty. A
patient whose references are all empty has no Dice and is counted by whether the
prediction was empty too. The site's half is exact; noise belongs to ``site_report``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError, ProtocolError
from fedrad.metrics.fusion import Estimate, Look, combine, rates_of, resampled
from fedrad.metrics.metric import (
    Interval,
    Metric,
    Z,
    count_metric,
    method_of,
    percentiles,
    proportion,
    share_metric,
)
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

QUANTILES = (("dice_p10", 0.1), ("dice_p50", 0.5))
FAILURE = 0.5  # a case below this Dice has failed
EMPTY_CELLS = 2  # after the bins: reference empty and prediction empty, or not empty


def blocks(
    dice: npt.ArrayLike, prediction_empty: npt.ArrayLike, *, edges: tuple[float, ...]
) -> tuple[Block, ...]:
    """Count one site's patients exactly.

    Args:
        dice: (n,) mean Dice of each patient in [0, 1]; NaN where every reference is empty.
            An infinite one counts as 0: no patient decides whether there is an answer.
        prediction_empty: (n,) whether nothing was predicted; read where ``dice`` is NaN.
        edges: Public bin edges rising from 0 to 1; bin k is [edge k, edge k + 1).

    Returns:
        ``n`` (1 value), ``dice_histogram`` (bins, then the two cells of empty references)
        and ``dice_sum`` (1 value, over patients with a Dice). One patient more or less
        moves each block by at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: Lengths differ.
    """
    values, empty = _records(dice, prediction_empty)
    scored = values[~np.isnan(values)]
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, scored, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    unscored = empty[np.isnan(values)]
    histogram = [*counts, unscored.sum(), (~unscored).sum()]
    return (
        _exact("n", [len(values)]),
        _exact("dice_histogram", histogram),
        _exact("dice_sum", [scored.sum()]),
    )


def exact_block(dice: npt.ArrayLike) -> Block:
    """Return the block ``exact``: mean Dice and how many patients have one. Simulation only.

    The mean is NaN if none has.
    """
    values = np.asarray(dice, dtype=np.float64)
    scored = values[~np.isnan(values)]
    return _exact("exact", [scored.mean() if len(scored) else np.nan, len(scored)])


def measure(
    blocks: Sequence[Block], *, edges: tuple[float, ...], rng: np.random.Generator
) -> tuple[Metric, ...]:
    """Read the metrics off one site's blocks, or off pooled ones, noise included.

    Args:
        blocks: As ``blocks`` returned them, noised or not; ``exact``, if present, gives
            the mean without noise.
        edges: The task's edges.
        rng: For the bootstrap.

    Returns:
        ``dice_mean``, ``dice_p10``, ``dice_p50`` (quantiles over patients, exact to one
        bin), ``failure_rate`` (Dice under 0.5) and ``n``, each with a 95 % interval that
        includes the noise. A metric whose half-width is over 0.25 has no value.

    Raises:
        ProtocolError: A block is missing or has the wrong length.
    """
    named = _named(blocks, len(edges) - 1)
    estimate = _combined(named, edges)
    scored = _mask(edges, 1.0)
    patients, method = float(scored @ estimate.counts), method_of(blocks)
    rates = np.append(rates_of(estimate.counts[:-1]), 0.0)
    draws = resampled(estimate, rates, rng=rng)
    total, spread = _total(estimate)
    return (
        share_metric("dice_mean", _mean(estimate.counts, draws, edges), n=patients, method=method),
        *(
            share_metric(
                name,
                quantile_of(estimate.counts, draws, edges, share),
                n=patients,
                method=method,
            )
            for name, share in QUANTILES
        ),
        share_metric("failure_rate", _failures(estimate, edges), n=patients, method=method),
        count_metric(total, spread, method=method),
    )


def _records(
    dice: npt.ArrayLike, prediction_empty: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    values = np.asarray(dice, dtype=np.float64)
    empty = np.asarray(prediction_empty, dtype=np.bool_)
    if values.ndim != 1 or values.shape != empty.shape:
        raise DataError(f"one Dice and one flag a patient, got {values.shape} and {empty.shape}")
    return np.clip(np.where(np.isinf(values), 0.0, values), 0.0, 1.0), empty


def _exact(name: str, values: npt.ArrayLike) -> Block:
    return Block(name=name, values=np.asarray(values, dtype=np.float64), sigma=0.0, sensitivity=1.0)


def _named(blocks: Sequence[Block], bins: int) -> dict[str, Block]:
    named = {block.name: block for block in blocks}
    for name, length in (("n", 1), ("dice_histogram", bins + EMPTY_CELLS), ("dice_sum", 1)):
        if name not in named or named[name].values.shape != (length,):
            raise ProtocolError(f"a segmentation report needs {length} values in block {name!r}")
    return named


def patients_scored(report: Sequence[Block], edges: tuple[float, ...]) -> tuple[float, float]:
    """Return how many patients have a Dice, and the standard deviation of its noise.

    Raises:
        ProtocolError: As for ``measure``.
    """
    estimate = _combined(_named(report, len(edges) - 1), edges)
    scored = _mask(edges, 1.0)
    return float(scored @ estimate.counts), math.sqrt(scored @ estimate.covariance @ scored)


def mean_dice(report: Sequence[Block], edges: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the mean Dice, the variance of its noise and the variance among patients.

    All NaN where no patient is scored.

    Raises:
        ProtocolError: As for ``measure``.
    """
    return mean_of(_combined(_named(report, len(edges) - 1), edges), edges, EMPTY_CELLS)


def mean_of(
    estimate: Estimate, edges: tuple[float, ...], others: int
) -> tuple[float, float, float]:
    """Return the mean of a histogram, the variance of its noise and that among patients.

    Args:
        estimate: Bins, then ``others`` cells without a value, then what a sum has over centres.
        edges: Of the bins.
        others: How many cells have no value.
    """
    middle = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    centres = np.concatenate([middle, np.zeros(others), np.ones(1)])
    scored = np.concatenate([np.ones(len(middle)), np.zeros(others + 1)])
    patients = float(scored @ estimate.counts)
    if not patients > 0:
        return math.nan, math.nan, math.nan
    mean = float(centres @ estimate.counts) / patients
    slope = (centres - scored * mean) / patients
    rates = rates_of(estimate.counts[: len(middle)])
    among = float(rates @ np.square(middle - mean)) / max(float(rates.sum()), 1.0)
    return mean, float(slope @ estimate.covariance @ slope), among


def _combined(named: dict[str, Block], edges: tuple[float, ...]) -> Estimate:
    """Merge the blocks into the cells of the histogram and one number more.

    The last number is what the Dice sum has over the sum of bin centres. It is 0 give or
    take where patients lie within their bins, which is a look like the others: so the centres
    steady the mean where the noise is large and do not bias it where there is none. Patients of
    a bin may all crowd at one end of it: the deviation is that of one place anywhere in each bin,
    width / √12, times its patients, not times their root.
    """
    histogram = named["dice_histogram"]
    cells = len(histogram.values)
    ones, last = np.append(np.ones(cells), 0.0), np.eye(cells + 1)[-1:]
    widths = np.append(np.diff(edges), np.zeros(EMPTY_CELLS))
    places = np.maximum(histogram.values, 1.0) * widths / math.sqrt(12)
    return combine(
        [
            Look(np.eye(cells + 1)[:-1], histogram.values, histogram.sigma),
            Look(ones[None], named["n"].values, named["n"].sigma),
            Look(_centres(edges)[None], named["dice_sum"].values, named["dice_sum"].sigma),
            Look(last, np.zeros(1), float(np.linalg.norm(places))),
        ]
    )


def _centres(edges: tuple[float, ...]) -> Floats:
    """Return what each number of the estimate adds to the Dice sum."""
    middle = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    return np.concatenate([middle, np.zeros(EMPTY_CELLS), np.ones(1)])


def _mask(edges: tuple[float, ...], below: float) -> Floats:
    """Return the part of each number of the estimate that counts patients under a Dice."""
    low, high = np.asarray(edges[:-1]), np.asarray(edges[1:])
    part = np.clip((below - low) / (high - low), 0.0, 1.0)
    return np.concatenate([part, np.zeros(EMPTY_CELLS + 1)])


def _mean(counts: Floats, draws: Floats, edges: tuple[float, ...]) -> Interval:
    scored, centres = _mask(edges, 1.0), _centres(edges)

    def mean(rows: Floats) -> Floats:
        patients = rows @ scored
        safe = np.where(patients > 0, patients, np.nan)
        return np.asarray((rows @ centres) / safe, dtype=np.float64)

    return percentiles(float(mean(counts[None])[0]), mean(draws))


def quantile_of(counts: Floats, draws: Floats, edges: tuple[float, ...], share: float) -> Interval:
    """Read a quantile off the histogram, linear within a bin.

    Negative cells make the running sum fall; the mean of its running maximum from the
    left and minimum from the right rises and is not biased to either side.
    """

    def quantiles(rows: Floats) -> Floats:
        below = np.cumsum(np.pad(rows[:, : len(edges) - 1], ((0, 0), (1, 0))), axis=1)
        up = np.maximum.accumulate(below, axis=1)
        down = np.minimum.accumulate(below[:, ::-1], axis=1)[:, ::-1]
        total = np.where(below[:, -1:] > 0, below[:, -1:], np.nan)
        return _crossing(np.clip((up + down) / 2 / total, 0.0, 1.0), edges, share)

    return percentiles(float(quantiles(counts[None])[0]), quantiles(draws))


def _crossing(rising: Floats, edges: tuple[float, ...], share: float) -> Floats:
    """Return where each rising row (draws, bins + 1) over ``edges`` first reaches ``share``."""
    right = np.clip((rising < share).sum(axis=1), 1, len(edges) - 1)
    rows, edge = np.arange(len(rising)), np.asarray(edges)
    low, high = rising[rows, right - 1], rising[rows, right]
    part = np.clip((share - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return np.asarray(edge[right - 1] + part * (edge[right] - edge[right - 1]), dtype=np.float64)


def _failures(estimate: Estimate, edges: tuple[float, ...]) -> Interval:
    failed, scored = _mask(edges, FAILURE), _mask(edges, 1.0)
    noise = estimate.noise_of_share(failed, scored)
    return proportion(float(failed @ estimate.counts), float(scored @ estimate.counts), noise)


def _total(estimate: Estimate) -> tuple[float, float]:
    """Return the number of patients and the half-width of its 95 % interval."""
    counts, covariance = estimate.counts[:-1], estimate.covariance[:-1, :-1]
    return float(counts.sum()), Z * math.sqrt(max(0.0, float(covariance.sum())))
