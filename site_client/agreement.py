"""How well readers agree beyond chance: Cohen's and Fleiss' kappa, with intervals over exams.

Votes are class indices. Intervals are percentile bootstraps that draw whole exams, because the
votes of one exam are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
_DRAWS = 2000
FEWEST_EXAMS = 10  # fewer give an interval that says nothing


@dataclass(frozen=True, slots=True)
class Agreement:
    """One kappa with its 95 % interval; ``None`` where it cannot be estimated."""

    exams: int
    kappa: float | None
    lo: float | None = None
    hi: float | None = None


def cohen(first: NDArray[np.int64], second: NDArray[np.int64], classes: int) -> float | None:
    """Return Cohen's kappa of two readers.

    Args:
        first: (exams,) class indices of one reader.
        second: The other's, on the same exams.
        classes: How many classes there are.

    Returns:
        kappa = (p_o - p_e) / (1 - p_e) [1]; ``None`` where chance alone agrees fully.

    References:
        [1] Cohen, Educational and Psychological Measurement 20, 1960, p. 40.
    """
    pairs = np.bincount(first * classes + second, minlength=classes**2)
    table = pairs.reshape(classes, classes) / len(first)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return _beyond(float(np.trace(table)), chance)


def fleiss(counts: Counts) -> float | None:
    """Return Fleiss' kappa of any readers; exams may have different numbers of them.

    Args:
        counts: (exams, classes) how many readers chose each class; two or more an exam.

    Returns:
        kappa from the mean agreement of pairs within exams and the classes' shares [1], each
        exam weighing the same; ``None`` where chance alone agrees fully.

    References:
        [1] Fleiss, Psychological Bulletin 76, 1971, eq. 2 to 7.
    """
    readers = counts.sum(axis=1)
    pairs = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))
    shares = counts.sum(axis=0) / counts.sum()
    return _beyond(float(pairs.mean()), float(shares @ shares))


def cohen_agreement(
    first: NDArray[np.int64], second: NDArray[np.int64], rng: np.random.Generator
) -> Agreement:
    """Return Cohen's kappa of two readers with its interval; arguments as ``cohen``."""
    classes = int(max(first.max(initial=0), second.max(initial=0))) + 1
    return _with_interval(
        len(first), lambda drawn: cohen(first[drawn], second[drawn], classes), rng
    )


def fleiss_agreement(counts: Counts, rng: np.random.Generator) -> Agreement:
    """Return Fleiss' kappa with its interval; arguments as ``fleiss``."""
    return _with_interval(len(counts), lambda drawn: fleiss(counts[drawn]), rng)


def _beyond(observed: float, chance: float) -> float | None:
    return None if 1 - chance < 1e-12 else (observed - chance) / (1 - chance)


def _with_interval(
    exams: int, kappa: Callable[[NDArray[np.int64]], float | None], rng: np.random.Generator
) -> Agreement:
    if exams < FEWEST_EXAMS:
        return Agreement(exams, None)
    found = kappa(np.arange(exams))
    draws = [
        kappa(rng.integers(0, exams, exams)) for _ in range(_DRAWS if found is not None else 0)
    ]
    known = [value for value in draws if value is not None]
    if found is None or len(known) < 0.9 * _DRAWS:
        return Agreement(exams, found)
    lo, hi = np.quantile(known, (0.025, 0.975))
    return Agreement(exams, found, float(lo), float(hi))
