"""Merge several noisy looks at the same counts into one best estimate.

A report says some things twice: the positives are a block of their own, the sum of two
cells at the operating point, and the sum of a row of the table, each with noise of known
size. Least squares weighted by that noise uses all of them, stays linear and unbiased,
and clips nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 2000
_NO_NOISE = 1e-6  # stands for 0, far below one patient


@dataclass(frozen=True, slots=True)
class Look:
    """``values`` (m,) saw ``design`` (m, k) times the counts, with noise ``sigma`` each."""

    design: Floats
    values: Floats
    sigma: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Counts (k,), possibly negative, and the covariance (k, k) of their noise."""

    counts: Floats
    covariance: Floats

    def noise_of_share(self, part: Floats, whole: Floats) -> float:
        """Return the noise variance of (part · counts) / (whole · counts), to first order."""
        total = float(whole @ self.counts)
        slope = (part - whole * float(part @ self.counts) / total) / total if total else whole * 0
        return float(slope @ self.covariance @ slope)


def combine(looks: Sequence[Look]) -> Estimate:
    """Return the generalised least-squares estimate of the counts (Gauss-Markov).

    Without noise anywhere the looks agree and the estimate is what they say.
    """
    weighted = [(look.design / max(look.sigma, _NO_NOISE) ** 2, look) for look in looks]
    precision = sum((w.T @ look.design for w, look in weighted), np.zeros(()))
    covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    right = sum((w.T @ look.values for w, look in weighted), np.zeros(()))
    return Estimate(counts=covariance @ right, covariance=covariance)


def resampled(
    estimate: Estimate, rates: Floats, *, rng: np.random.Generator, draws: int = DRAWS
) -> Floats:
    """Return (draws, k) counts that could have been seen instead: a parametric bootstrap.

    Each count varies as a Poisson number of patients with its rate, centred on the
    estimate, and the noise is drawn again with its known covariance.

    Args:
        estimate: From ``combine``.
        rates: (k,) expected patients per count; 0 or more.
        rng: Any generator; this is post-processing.
        draws: How many.
    """
    patients = rng.poisson(rates, size=(draws, len(rates))) - rates
    root = np.linalg.cholesky(estimate.covariance)
    noise = rng.standard_normal((draws, len(rates))) @ root.T
    return np.asarray(estimate.counts + patients + noise, dtype=np.float64)


def rates_of(counts: Floats) -> Floats:
    """Return counts (..., k) without negatives, scaled to keep each row's sum."""
    positive = np.maximum(counts, 0.0)
    total = positive.sum(axis=-1, keepdims=True)
    wanted = np.maximum(counts.sum(axis=-1, keepdims=True), 0.0)
    return np.asarray(positive * wanted / np.maximum(total, 1e-300), dtype=np.float64)
