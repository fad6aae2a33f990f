"""Where scores lie inside the bins of a table: what a histogram leaves open, filled in.

A mean score, a slope or a precision that took every score for the middle of its bin would be
wrong by far more than its interval where scores crowd into the lowest bin, as they do for a rare
finding. So each class's scores are taken as normal on the logit scale with the mean and spread
that its cumulative counts say, inside the bins alone: what each bin holds stays what was counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtr, ndtri

from fedrad.metrics.fusion import rates_of

Floats = npt.NDArray[np.float64]

PARTS = 8  # of each bin
FARTHEST = 9.2  # logit of the outer ends, a score of one in ten thousand
_CERTAIN = 0.002  # cumulative shares nearer to 0 or 1 say nothing of the spread


@dataclass(frozen=True, slots=True)
class Places:
    """Parts of the bins in rising order, and how the patients of a cell spread over them.

    ``logits`` (bins × parts,); ``spread`` (2 × bins, 2 × bins × parts): rows sum to 1, a cell's
    patients lie in the parts of its own class and bin.
    """

    logits: Floats
    spread: Floats

    @property
    def scores(self) -> Floats:
        """The scores of the parts."""
        return np.asarray(expit(self.logits), dtype=np.float64)


def places(counts: Floats, edges: tuple[float, ...]) -> Places:
    """Return where patients lie inside the bins, as their own table says.

    Args:
        counts: (2 × bins,) patients, label 0 first; may be negative.
        edges: Public, rising from 0 to 1.
    """
    bins = len(edges) - 1
    ends = _ends(edges)
    logits = (ends[:, 1:] + ends[:, :-1]) / 2
    rates = rates_of(counts.reshape(2, bins))
    spread = np.zeros((2, bins, 2, bins, PARTS))
    place = np.arange(bins)
    for label in (0, 1):
        spread[label, place, label, place] = _shares(rates[label], ends)
    return Places(logits.ravel(), spread.reshape(2 * bins, -1))


def wins(counts: Floats, edges: tuple[float, ...]) -> Floats:
    """Return how often a positive scores higher than a negative of its bin (bins,); ties half.

    Args:
        counts: As for ``places``.
        edges: Public, rising from 0 to 1.
    """
    ends = _ends(edges)
    negative, positive = (_shares(own, ends) for own in rates_of(counts.reshape(2, -1)))
    below = np.cumsum(negative, axis=1) - negative / 2
    return np.asarray((positive * below).sum(axis=1), dtype=np.float64)


def _ends(edges: tuple[float, ...]) -> Floats:
    """Return (bins, parts + 1) logits of the ends of each bin's parts."""
    with np.errstate(divide="ignore"):
        outer = np.clip(logit(np.asarray(edges, dtype=np.float64)), -FARTHEST, FARTHEST)
    share = np.linspace(0, 1, PARTS + 1)
    return np.asarray(outer[:-1, None] * (1 - share) + outer[1:, None] * share, dtype=np.float64)


def _shares(rates: Floats, ends: Floats) -> Floats:
    """Return (bins, parts) shares of each bin's patients; rows sum to 1."""
    even = np.diff(expit(ends), axis=1)
    mean, deviation = _normal(rates, ends[1:, 0])
    apart = (ends - mean) / deviation
    below, above = ndtr(apart), ndtr(-apart)
    parts = np.where(ends[:, :-1] < mean, np.diff(below, axis=1), -np.diff(above, axis=1))
    parts[0, 0] += below[0, 0]
    parts[-1, -1] += above[-1, -1]
    whole = parts.sum(axis=1, keepdims=True)
    known = np.isfinite(whole) & (whole > 1e-12)
    even = even / even.sum(axis=1, keepdims=True)
    return np.asarray(np.where(known, parts / np.where(known, whole, 1.0), even))


def _normal(rates: Floats, inner: Floats) -> tuple[float, float]:
    """Return mean and deviation of a class's logits: a line through normal quantiles.

    The quantile of the cumulative share at each inner edge is (edge - mean) / deviation; the line
    is weighted by how sure each is, in proportion to φ(q)² / (F (1 - F)). Not both known: NaN.
    """
    total = float(rates.sum())
    share = np.cumsum(rates)[:-1] / total if total > 0 else np.zeros(len(inner))
    used = (share > _CERTAIN) & (share < 1 - _CERTAIN)
    if used.sum() < 2:
        return float("nan"), float("nan")
    share, edge = share[used], inner[used]
    quantile = ndtri(share)
    weight = np.exp(-np.square(quantile)) / (share * (1 - share))
    at, of = np.average(edge, weights=weight), np.average(quantile, weights=weight)
    slope = float((weight * (edge - at)) @ (quantile - of) / ((weight * (edge - at)) @ (edge - at)))
    if slope <= 0:
        return float("nan"), float("nan")
    return float(at - of / slope), 1 / slope
