"""Classification from sums: a site counts patients, the aggregator reads metrics off them.

Each patient is one record, a score in [0, 1] and a label 0 or 1. The site's half is exact
numpy; the noise belongs to ``site_report``. Cells may be negative by the time they reach
the aggregator's half and are never clipped in an estimate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

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
        scores: (n,) mean positive-class probability of each patient; clipped to [0, 1].
        labels: (n,) 0 or 1.
        edges: Public bin edges rising from 0 to 1; bin k is [edge k, edge k + 1).
        operating_point: A score from here on is a positive call.

    Returns:
        ``n`` (1 value), ``positives`` (1), ``operating`` (TP, FP, FN, TN) and ``table``
        (2 × bins, row-major, label 0 first). One patient more or less moves each block by
        at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: A score is not finite or a label is neither 0 nor 1.
    """
    score, label = _records(scores, labels)
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
        DataError: As for ``blocks``.
    """
    score, label = _records(scores, labels)
    levels, level = np.unique(score, return_inverse=True)
    table = np.zeros((2, max(1, len(levels))))
    np.add.at(table, (label, level), 1.0)
    return float(table_auroc(table))


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
