"""Segmentation from sums: a site files its patients' Dice, the aggregator reads it off.

Each patient is one record: the mean Dice over the images whose reference is not empty. A
patient whose references are all empty has no Dice and is counted by whether the
prediction was empty too. The site's half is exact; noise belongs to ``site_report``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

EMPTY_CELLS = 2  # after the bins: reference empty and prediction empty, or not empty


def blocks(
    dice: npt.ArrayLike, prediction_empty: npt.ArrayLike, *, edges: tuple[float, ...]
) -> tuple[Block, ...]:
    """Count one site's patients exactly.

    Args:
        dice: (n,) mean Dice of each patient in [0, 1]; NaN where every reference is empty.
        prediction_empty: (n,) whether nothing was predicted; read where ``dice`` is NaN.
        edges: Public bin edges rising from 0 to 1; bin k is [edge k, edge k + 1).

    Returns:
        ``n`` (1 value), ``dice_histogram`` (bins, then the two cells of empty references)
        and ``dice_sum`` (1 value, over patients with a Dice). One patient more or less
        moves each block by at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: Lengths differ, or a Dice is infinite.
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


def _records(
    dice: npt.ArrayLike, prediction_empty: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    values = np.asarray(dice, dtype=np.float64)
    empty = np.asarray(prediction_empty, dtype=np.bool_)
    if values.ndim != 1 or values.shape != empty.shape:
        raise DataError(f"one Dice and one flag a patient, got {values.shape} and {empty.shape}")
    if np.isinf(values).any():
        raise DataError("a patient's Dice is infinite")
    return np.clip(values, 0.0, 1.0), empty


def _exact(name: str, values: npt.ArrayLike) -> Block:
    return Block(name=name, values=np.asarray(values, dtype=np.float64), sigma=0.0, sensitivity=1.0)
