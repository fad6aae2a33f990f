"""Rules that look at each coordinate: the weighted median and the trimmed mean.

Memory is the result and the sites' values of one small piece. Rules that weigh whole
updates are in ``factors``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from aggregator.aggregation.updates import Updates
from fedrad.parameters import Parameters

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float64]  # (sites, values)
Rule = Callable[[Rows, Vector], Vector]


def by_coordinate(updates: Updates, factors: Vector, shares: Vector, rule: Rule) -> Parameters:
    """Return ``rule`` of every coordinate of factor times update.

    Args:
        updates: The files.
        factors: (sites,): what each update is multiplied with first, such as a clip.
        shares: (sites,): the weight of each site; they sum to 1.
        rule: From (sites, values) and shares to (values,).

    Returns:
        The aggregate, with the names, shapes and dtypes of the updates.

    Raises:
        DamagedStateError: A file is cut short.
    """
    found: Parameters = {}
    for name, place in updates.tensors.items():
        flat = np.empty(int(np.prod(place.shape, dtype=np.int64)), place.dtype)
        for piece in updates.pieces(name):
            rows = updates.stacked(piece)
            rows *= factors[:, None]
            flat[piece.start : piece.start + piece.count] = rule(rows, shares)
        found[name] = flat.reshape(place.shape)
    return found


def median(rows: Rows, shares: Vector) -> Vector:
    """Return the weighted median of each column: half of the weight lies on either side.

    Where a value has exactly half of the weight below and with it, the middle between it and
    the next one; with equal shares numpy's median [1].

    References:
        [1] Yin et al., Byzantine-Robust Distributed Learning, ICML 2018, definition 1 (equal
            shares).
    """
    order = np.argsort(rows, axis=0, kind="stable")
    ranked = np.take_along_axis(rows, order, axis=0)
    below = np.cumsum(shares[order], axis=0)
    half = shares.sum() / 2
    low = np.argmax(below >= half * (1 - 1e-12), axis=0)
    high = np.argmax(below > half * (1 + 1e-12), axis=0)
    columns = np.arange(rows.shape[1])
    middle: Vector = (ranked[low, columns] + ranked[high, columns]) / 2
    return middle


def trimmed_mean(trim: float) -> Rule:
    """Return the rule that drops the largest and smallest values of each column [1].

    Args:
        trim: The share of the sites that is dropped at either end, in [0, 0.5); of n sites
            floor(trim · n).

    References:
        [1] Yin et al., Byzantine-Robust Distributed Learning, ICML 2018, definition 2.
    """

    def rule(rows: Rows, shares: Vector) -> Vector:
        drop = int(trim * len(rows))
        order = np.argsort(rows, axis=0, kind="stable")[drop : len(rows) - drop]
        weights = shares[order]
        kept = np.take_along_axis(rows, order, axis=0)
        mean: Vector = (kept * weights).sum(axis=0) / weights.sum(axis=0)
        return mean

    return rule
