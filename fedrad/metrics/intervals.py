"""Say whether one model is better than another on the same patients, or that it is open.

For simulations and for a site's own screen: these functions see single patients, so
nothing they return may leave a site. Differences are ``a`` minus ``b``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "cannot tell"]

DRAWS = 2000
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, its 95 % percentile bootstrap interval and two-sided p-value."""

    value: float
    lo: float
    hi: float
    p: float


def paired_difference(
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Difference:
    """Return the difference of two AUROCs over the same patients.

    Patients are drawn again with replacement within each class, both models together.

    Args:
        scores_a: (n,) scores of the first model, one per patient.
        scores_b: (n,) scores of the second.
        labels: (n,) 0 or 1.
        rng: Any generator.
        draws: Bootstrap draws.

    Returns:
        All NaN if a class has no patient.

    Raises:
        DataError: Lengths differ or a score is not finite.
    """
    a, b = _paired(scores_a, scores_b)
    label = np.asarray(labels)
    if label.shape != a.shape:
        raise DataError(f"one label a patient, got {label.shape} for {a.shape} scores")
    ill, well = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    if not len(ill) or not len(well):
        return Difference(math.nan, math.nan, math.nan, math.nan)
    wins = _wins(a, ill, well) - _wins(b, ill, well)
    resampled = np.einsum(
        "dp,dp->d", _weights(len(ill), draws, rng) @ wins, _weights(len(well), draws, rng)
    )
    return _difference(float(wins.mean()), resampled)


def paired_mean_difference(
    values_a: npt.ArrayLike,
    values_b: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Difference:
    """Return the mean difference of two values per patient, such as Dice.

    Args:
        values_a: (n,) values under the first model.
        values_b: (n,) under the second, same patients.
        rng: Any generator.
        draws: Bootstrap draws.

    Returns:
        All NaN if there is no patient.

    Raises:
        DataError: Lengths differ or a value is not finite.
    """
    a, b = _paired(values_a, values_b)
    if not len(a):
        return Difference(math.nan, math.nan, math.nan, math.nan)
    change = a - b
    return _difference(float(change.mean()), _weights(len(change), draws, rng) @ change)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for their number, in their order (Holm 1979).

    A NaN stands for a test that was not made: it stays NaN and counts for nothing.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = [index for index in np.argsort(p) if not math.isnan(p[index])]
    adjusted, highest = np.full(len(p), np.nan), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(p[index])))
        adjusted[index] = highest
    return tuple(map(float, adjusted))


def verdict(
    difference: Difference, *, adjusted_p: float, smallest_class: int, minimum: int
) -> Verdict:
    """Say what a difference shows, for a measure where more is better.

    Args:
        difference: First model minus second.
        adjusted_p: Its p-value after ``holm``.
        smallest_class: Patients in the smaller class; for segmentation, patients.
        minimum: The analysis plan's least number.

    Returns:
        "cannot tell" if a class is too small, the interval contains 0, or the adjusted
        p-value is over 0.05 (or NaN).
    """
    excludes_zero = difference.lo > 0 or difference.hi < 0
    if smallest_class < minimum or not excludes_zero or not adjusted_p <= LEVEL:
        return "cannot tell"
    return "better" if difference.value > 0 else "worse"


def _paired(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError(f"a paired comparison needs the same patients, got {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("a value of the comparison is not finite; leave the patient out of both")
    return a, b


def _wins(scores: Floats, ill: npt.NDArray[np.intp], well: npt.NDArray[np.intp]) -> Floats:
    """Return (P, N): 1 where the ill patient scores higher, a half for a tie, else 0."""
    return np.asarray(np.sign(scores[ill][:, None] - scores[well][None]) / 2 + 0.5)


def _weights(patients: int, draws: int, rng: np.random.Generator) -> Floats:
    """Return (draws, patients) shares of a resample with replacement; rows sum to 1."""
    even = np.full(patients, 1 / patients)
    return np.asarray(rng.multinomial(patients, even, size=draws) / patients, dtype=np.float64)


def _difference(value: float, draws: Floats) -> Difference:
    """Sum up a bootstrap; p is twice the rarer side of 0, one draw added to each side."""
    lo, hi = np.quantile(draws, (0.025, 0.975))
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p = min(1.0, 2 * (rarer + 1) / (len(draws) + 1))
    return Difference(value, float(lo), float(hi), p)
