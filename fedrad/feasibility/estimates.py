"""What can be read off noised counts: numbers of patients and shares, with 95 % intervals.

The intervals hold the noise alone: the patients are those that a site has, not a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrad.metrics.metric import Z
from fedrad.protocol.messages import Block


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of patients, or a share of them; both ends are in range, the value may not be."""

    value: float
    lo: float
    hi: float


def count(block: Block, cells: Sequence[int]) -> Estimate:
    """Return how many patients some cells of a block hold together.

    Independent noises add in variance; nobody has fewer than 0 patients.
    """
    value, sigma = _sum(block, cells)
    return Estimate(value, max(0.0, value - Z * sigma), max(0.0, value + Z * sigma))


def share(block: Block, part: Sequence[int], rest: Sequence[int]) -> Estimate | None:
    """Return which share of the patients of ``part`` and ``rest`` is in ``part``.

    Fieller's interval [1]: the shares p for which a - p (a + b), normal with variance
    (1 - p)² var(a) + p² var(b), is within 1.96 deviations of 0.

    Args:
        block: Noised counts.
        part: Cells.
        rest: Other cells.

    Returns:
        ``None`` where noise leaves open whether there is anybody, or which share.

    References:
        [1] Fieller, Some Problems in Interval Estimation, JRSS B 1954.
    """
    (a, sigma_a), (b, sigma_b) = _sum(block, part), _sum(block, rest)
    if a + b <= Z * math.hypot(sigma_a, sigma_b):
        return None
    lo, hi = _roots(
        (a + b) ** 2 - Z**2 * (sigma_a**2 + sigma_b**2),
        -2 * (a * (a + b) - Z**2 * sigma_a**2),
        a**2 - Z**2 * sigma_a**2,
    )
    lo, hi = max(0.0, min(1.0, lo)), min(1.0, max(0.0, hi))
    return None if (lo, hi) == (0.0, 1.0) else Estimate(min(1.0, max(0.0, a / (a + b))), lo, hi)


def _roots(square: float, linear: float, constant: float) -> tuple[float, float]:
    """Return the real roots of a parabola that opens upwards, rising.

    The middle of the interval always satisfies it, so they exist but for rounding.
    """
    half = math.sqrt(max(0.0, linear**2 - 4 * square * constant))
    return (-linear - half) / (2 * square), (-linear + half) / (2 * square)


def _sum(block: Block, cells: Sequence[int]) -> tuple[float, float]:
    return float(np.sum(block.values[list(cells)])), block.sigma * math.sqrt(len(cells))
