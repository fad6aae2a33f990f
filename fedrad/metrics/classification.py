"""Classification from sums: a site counts patients, the aggregator reads metrics off them.

Each patient is one record, a score in [0, 1] and a label 0 or 1. The site's half is exact
numpy; the noise belongs to ``site_report``. Cells may be negative by the time they reach
the aggregator's half and are never clipped in an estimate.
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
    method_of,
    proportion,
    share_metric,
)
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

UNDECIDED = 0.5  # the public score of a patient whose own is not finite
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE = range(4)


def blocks(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    edges: tuple[float, ...],
    operating_point: float,
) -> tuple[Block, ...]:
    """Count one site's patients exactly.

    Args:
        scores: (n,) mean positive-class probability of each patient; clipped to [0, 1]. One
            that is not finite counts as ``UNDECIDED``: what a model makes of one patient must
            show in the noised sums alone, never in whether there is an answer.
        labels: (n,) 0 or 1.
        edges: Public bin edges rising from 0 to 1; bin k is [edge k, edge k + 1).
        operating_point: A score from here on is a positive call.

    Returns:
        ``n`` (1 value), ``positives`` (1), ``operating`` (TP, FP, FN, TN) and ``table``
        (2 × bins, row-major, label 0 first). One patient more or less moves each block by
        at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: A label is neither 0 nor 1, or lengths differ.
    """
    given = np.asarray(scores, dtype=np.float64)
    score, label = _records(np.where(np.isfinite(given), given, UNDECIDED), labels)
    called = score >= operating_point
    cells = [called & (label == 1), called & (label == 0), ~called & (label == 1)]
    operating = [float(cell.sum()) for cell in cells]
    table = _table(score, label, edges)
    return (
        _exact("n", [len(label)]),
        _exact("positives", [label.sum()]),
        _exact("operating", [*operating, len(label) - sum(operating)]),
        _exact("table", table.ravel()),
    )


def exact_block(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Block:
    """Return the block ``exact``, one value: the AUROC without bins. Simulation only.

    NaN if a class is missing.
    """
    return _exact("exact", [auroc(scores, labels)])


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if a class is missing.

    Raises:
        DataError: As for ``blocks``, or a score is not finite.
    """
    score, label = _records(scores, labels)
    levels, level = np.unique(score, return_inverse=True)
    table = np.zeros((2, max(1, len(levels))))
    np.add.at(table, (label, level), 1.0)
    return float(table_auroc(table))


def measure(
    blocks: Sequence[Block],
    *,
    edges: tuple[float, ...],
    operating_point: float,
    rng: np.random.Generator,
) -> tuple[Metric, ...]:
    """Read the metrics off one site's blocks, or off pooled ones, noise included.

    Args:
        blocks: As ``blocks`` returned them, noised or not; ``exact``, if present, gives
            the AUROC without bins.
        edges: The task's edges.
        operating_point: The task's, one of the edges.
        rng: For the bootstrap of the AUROC.

    Returns:
        ``auroc``, ``sensitivity``, ``specificity``, ``prevalence`` and ``n``, each with a
        95 % interval that includes the noise. A metric whose half-width is over 0.25 or
        whose class has no patients has no value.

    Raises:
        ProtocolError: A block is missing or has the wrong length.
    """
    named = _named(blocks, len(edges) - 1)
    rows = _looks(named, edges, operating_point)
    by_class = combine(rows)  # without n, which would couple the noise of the two rows
    everyone = combine([*rows, Look(np.ones((1, 2 * len(edges) - 2)), *_seen(named["n"]))])
    method, called = method_of(blocks), _called(edges, operating_point)
    positives, negatives = np.repeat(np.eye(2)[::-1], len(edges) - 1, axis=1)

    def share(name: str, estimate: Estimate, part: Floats, whole: Floats) -> Metric:
        counted = (float(part @ estimate.counts), float(whole @ estimate.counts))
        found = proportion(*counted, estimate.noise_of_share(part, whole))
        return share_metric(name, found, n=counted[1], method=method)

    total = float(everyone.counts.sum())
    spread = Z * math.sqrt(float(everyone.covariance.sum()))
    area = _area(by_class, named.get("exact"), rng)
    return (
        share_metric("auroc", area, n=total, method=method),
        share("sensitivity", by_class, positives * called, positives),
        share("specificity", by_class, negatives * (1 - called), negatives),
        share("prevalence", everyone, positives, positives + negatives),
        Metric(name="n", value=total, lo=total - spread, hi=total + spread, n=total, method=method),
    )


def table_auroc(table: Floats) -> Floats:
    """Return the AUROC of label × score tables, ties within a bin counted half.

    The sum over bins of p_k (N_<k + n_k / 2), divided by P N: the Mann-Whitney statistic
    of binned scores. Cells may be negative; the numerator then stays unbiased, because
    the rows carry independent noise.

    Args:
        table: (..., 2, bins), label 0 first.

    Returns:
        (...), NaN where a row does not sum to more than 0.
    """
    negative, positive = table[..., 0, :], table[..., 1, :]
    below = np.cumsum(negative, axis=-1) - negative / 2
    pairs = negative.sum(axis=-1) * positive.sum(axis=-1)
    possible = (negative.sum(axis=-1) > 0) & (positive.sum(axis=-1) > 0)
    numerator = (positive * below).sum(axis=-1)
    return np.asarray(
        np.where(possible, numerator / np.where(possible, pairs, 1.0), np.nan), dtype=np.float64
    )


def _records(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if score.ndim != 1 or score.shape != label.shape:
        raise DataError(f"one score and one label a patient, got {score.shape} and {label.shape}")
    if not np.isfinite(score).all():
        raise DataError("a patient's score is not finite; the model diverged")
    if not np.isin(label, (0, 1)).all():
        raise DataError("a patient's label is neither 0 nor 1")
    return np.clip(score, 0.0, 1.0), label.astype(np.int64)


def _table(score: Floats, label: npt.NDArray[np.int64], edges: tuple[float, ...]) -> Floats:
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, bins - 1)
    counts = np.bincount(label * bins + place, minlength=2 * bins)
    return counts.reshape(2, bins).astype(np.float64)


def _exact(name: str, values: npt.ArrayLike) -> Block:
    return Block(name=name, values=np.asarray(values, dtype=np.float64), sigma=0.0, sensitivity=1.0)


def _named(blocks: Sequence[Block], bins: int) -> dict[str, Block]:
    named = {block.name: block for block in blocks}
    for name, length in (("n", 1), ("positives", 1), ("operating", 4), ("table", 2 * bins)):
        if name not in named or named[name].values.shape != (length,):
            raise ProtocolError(f"a classification report needs {length} values in block {name!r}")
    return named


def _looks(named: dict[str, Block], edges: tuple[float, ...], operating_point: float) -> list[Look]:
    """Say how each block sees the cells of the table, label 0 first."""
    bins, called = len(edges) - 1, _called(edges, operating_point)
    negatives, positives = np.repeat(np.eye(2), bins, axis=1)
    operating = np.stack(
        [positives * called, negatives * called, positives * (1 - called), negatives * (1 - called)]
    )
    return [
        Look(np.eye(2 * bins), *_seen(named["table"])),
        Look(operating, *_seen(named["operating"])),
        Look(positives[None], *_seen(named["positives"])),
    ]


def _seen(block: Block) -> tuple[Floats, float]:
    return block.values, block.sigma


def _called(edges: tuple[float, ...], operating_point: float) -> Floats:
    """Return 1 for each cell of the table whose scores are positive calls, else 0."""
    return np.tile(np.asarray(edges[:-1]) >= operating_point, 2).astype(np.float64)


def _area(estimate: Estimate, exact: Block | None, rng: np.random.Generator) -> Interval:
    """Return the AUROC with an interval for sampling and noise together.

    Two parametric bootstraps give the variance of both together and of the noise alone.
    The difference says how many trials of a proportion would vary as much; Wilson's
    interval of that proportion keeps its coverage where the AUROC nears 1 and plain
    percentiles do not. The number of trials is no less than the smaller class m, for the
    variance is at most A (1 - A) / m [1], and no more than 3 m, its least at A = 1/2.

    References:
        [1] Birnbaum, Klose, Bounds for the Variance of the Mann-Whitney Statistic, 1957.
    """
    table = estimate.counts.reshape(2, -1)
    rates = rates_of(table)
    both = table_auroc(resampled(estimate, rates.ravel(), rng=rng).reshape(-1, *table.shape))
    noise = table_auroc(resampled(estimate, 0 * rates.ravel(), rng=rng).reshape(-1, *table.shape))
    binned = float(table_auroc(table))
    value = binned if exact is None else float(exact.values[0])
    if np.isnan([*both, *noise]).mean() > 0.01 or not math.isfinite(binned + value):
        return Interval(math.nan, math.nan, math.nan)
    of_noise = float(np.nanvar(noise))
    of_patients = max(float(np.nanvar(both)) - of_noise, 1e-9)
    smaller = float(rates.sum(axis=-1).min())
    trials = np.clip(binned * (1 - binned) / of_patients, smaller, 3 * smaller)
    return proportion(value * float(trials), float(trials), of_noise)
