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
from fedrad.metrics.calibration import (
    Scored,
    brier,
    calibration_error,
    observed_to_expected,
    slope,
    temperature,
)
from fedrad.metrics.fusion import Estimate, Look, combine, rates_of
from fedrad.metrics.metric import (
    Interval,
    Method,
    Metric,
    Z,
    count_metric,
    method_of,
    proportion,
    ratio_metric,
    share_metric,
)
from fedrad.metrics.precision import precision_area
from fedrad.metrics.within import places, wins
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

FEWEST_OF_CLASS = 15.0  # of either class, for what compares scores of both
FEWEST = 20.0  # of both together, for a mean over them
_STEP = 1.0  # patients, of a slope
UNDECIDED = 0.5  # the public score of a patient whose own is not finite
_UNKNOWN = Interval(math.nan, math.nan, math.nan)
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
        rng: For the bootstrap of the average precision and the calibration error.

    Returns:
        ``auroc``, ``auprc``, ``sensitivity``, ``specificity``, ``prevalence``, then how scores
        are calibrated: ``oe_ratio``, ``calibration_slope``, ``temperature``, ``brier``, ``ece``;
        last ``n``. Each has a 95 % interval that includes the noise, and no value where that is
        too wide, where its class has no patients, or where what compares both classes has fewer
        than ``FEWEST_OF_CLASS`` estimated patients of one.

    Raises:
        ProtocolError: A block is missing or has the wrong length.
    """
    named = _named(blocks, len(edges) - 1)
    rows = _looks(named, edges, operating_point)
    by_class = combine(rows)  # without n, which would couple the noise of the two rows
    everyone = combine([*rows, Look(np.ones((1, 2 * len(edges) - 2)), *_seen(named["n"]))])
    method, total = method_of(blocks), float(everyone.counts.sum())
    spread = Z * math.sqrt(float(everyone.covariance.sum()))
    table = Scored(everyone, places(everyone.counts, edges))
    area, precise = _UNKNOWN, _UNKNOWN
    if table.smaller >= FEWEST_OF_CLASS:
        area = _area(by_class, edges, named.get("exact"))
        precise = precision_area(by_class, table.places, rng)
    return (
        share_metric("auroc", area, n=total, method=method),
        share_metric("auprc", precise, n=total, method=method),
        *_rates((by_class, everyone), _called(edges, operating_point), method),
        *_calibration(table, rng, method),
        count_metric(total, spread, method=method),
    )


def table_auroc(table: Floats, won: float | Floats = 0.5) -> Floats:
    """Return the AUROC of label × score tables, ties within a bin counted half unless told.

    The sum over bins of p_k (N_<k + w_k n_k), divided by P N: the Mann-Whitney statistic
    of binned scores. Cells may be negative; the numerator then stays unbiased, because
    the rows carry independent noise.

    Args:
        table: (..., 2, bins), label 0 first.
        won: (bins,) how often a positive beats a negative of the same bin.

    Returns:
        (...), NaN where a row does not sum to more than 0.
    """
    negative, positive = table[..., 0, :], table[..., 1, :]
    below = np.cumsum(negative, axis=-1) - negative * (1 - won)
    pairs = negative.sum(axis=-1) * positive.sum(axis=-1)
    possible = (negative.sum(axis=-1) > 0) & (positive.sum(axis=-1) > 0)
    numerator = (positive * below).sum(axis=-1)
    return np.asarray(
        np.where(possible, numerator / np.where(possible, pairs, 1.0), np.nan), dtype=np.float64
    )


def _rates(
    estimates: tuple[Estimate, Estimate], called: Floats, method: Method
) -> tuple[Metric, ...]:
    by_class, everyone = estimates
    negatives, positives = np.repeat(np.eye(2), len(called) // 2, axis=1)

    def share(name: str, estimate: Estimate, part: Floats, whole: Floats) -> Metric:
        counted = (float(part @ estimate.counts), float(whole @ estimate.counts))
        found = proportion(*counted, estimate.noise_of_share(part, whole))
        return share_metric(name, found, n=counted[1], method=method)

    return (
        share("sensitivity", by_class, positives * called, positives),
        share("specificity", by_class, negatives * (1 - called), negatives),
        share("prevalence", everyone, positives, positives + negatives),
    )


def _calibration(table: Scored, rng: np.random.Generator, method: Method) -> tuple[Metric, ...]:
    n = float(table.estimate.counts.sum())
    ratios = {"oe_ratio": _UNKNOWN, "calibration_slope": _UNKNOWN, "temperature": _UNKNOWN}
    shares = {"brier": brier(table) if n >= FEWEST else _UNKNOWN, "ece": _UNKNOWN}
    if table.smaller >= FEWEST_OF_CLASS:
        ratios["oe_ratio"] = observed_to_expected(table)
        ratios["calibration_slope"] = slope(table)
        ratios["temperature"] = temperature(table)
        shares["ece"] = calibration_error(table, rng)
    return (
        *(ratio_metric(name, found, n=n, method=method) for name, found in ratios.items()),
        *(share_metric(name, found, n=n, method=method) for name, found in shares.items()),
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


def _area(estimate: Estimate, edges: tuple[float, ...], exact: Block | None) -> Interval:
    """Return the AUROC with an interval for sampling and noise together.

    Scores inside a bin lie where ``within`` puts them: taken as ties, they would cost several
    points where most patients are in one bin. The slopes of the area over the counts, that
    placing included, give the variance of patients (Poisson) and of the noise. The former says
    how many trials of a proportion would vary as much; Wilson's interval of that proportion keeps
    its coverage where the AUROC nears 1. The number of trials is no less than half the smaller
    class m, for the variance of an area of known scores is at most A (1 - A) / m [1] and placing
    adds to it, and no more than 3 m, its least at A = 1/2.

    References:
        [1] Birnbaum, Klose, Bounds for the Variance of the Mann-Whitney Statistic, 1957.
    """
    area = _placed_area(estimate.counts, edges)
    value = area if exact is None else float(exact.values[0])
    steps = estimate.counts + _STEP * np.eye(len(estimate.counts))
    slopes = np.array([_placed_area(more, edges) - area for more in steps]) / _STEP
    if not math.isfinite(area + value + float(slopes.sum())):
        return _UNKNOWN
    rates = rates_of(estimate.counts.reshape(2, -1))
    of_noise = float(slopes @ estimate.covariance @ slopes)
    of_patients = max(float(np.square(slopes) @ rates.ravel()), 1e-9)
    smaller = float(rates.sum(axis=-1).min())
    trials = float(np.clip(area * (1 - area) / of_patients, smaller / 2, 3 * smaller))
    return proportion(value * trials, trials, of_noise)


def _placed_area(counts: Floats, edges: tuple[float, ...]) -> float:
    return float(table_auroc(counts.reshape(2, -1), wins(counts, edges)))
