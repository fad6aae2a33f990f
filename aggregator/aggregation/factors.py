"""Rules that weigh whole updates: from scalar products to one factor for each update.

Clipping by norm, the geometric median and centred clipping all end in a weighted sum of the
updates. Their distances need scalar products only, so that one pass over the files (and
N × N numbers) takes the place of a pass for every iteration. Factors are rounded to 2^-40:
the last bits of a scalar product differ between processors and must not reach the model.
Rules that look at each coordinate are in ``coordinates``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aggregator.aggregation.updates import Updates

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_ITERATIONS = 2000  # of vectors as long as there are sites
_SETTLED = 1e-12  # largest change of a factor that ends the iterations
_SMOOTHING = 1e-6  # of the median norm: nearer than this two updates are one
_CLIPPINGS = 10
_GRID = 2.0**40


def scalar_products(updates: Updates) -> Matrix:
    """Return the scalar product of every two updates: (sites, sites), float64.

    Raises:
        DamagedStateError: A file is cut short.
    """
    total = np.zeros((len(updates.sites),) * 2)
    for name in updates.tensors:
        for piece in updates.pieces(name):
            rows = updates.stacked(piece)
            total += rows @ rows.T
    return total


def squared_norms(updates: Updates) -> Matrix:
    """Return the diagonal of ``scalar_products`` alone, the rest 0.

    Raises:
        DamagedStateError: A file is cut short.
    """
    total = np.zeros(len(updates.sites))
    for name in updates.tensors:
        for piece in updates.pieces(name):
            total += np.square(updates.stacked(piece)).sum(axis=1)
    return np.diag(total)


def norms(products: Matrix) -> Vector:
    """Return every update's Euclidean norm."""
    return np.sqrt(np.diagonal(products))


def clip_factors(products: Matrix, times: float) -> Vector:
    """Return the factors that bring every norm to at most ``times`` the median norm."""
    lengths = norms(products)
    limit = times * float(np.median(lengths))
    return np.minimum(1.0, limit / np.maximum(lengths, np.finfo(np.float64).tiny))


def geometric_median(products: Matrix, shares: Vector) -> Vector:
    """Return the factors, which sum to 1, of the weighted geometric median.

    The point with the smallest weighted sum of distances to the updates, by Weiszfeld's
    iteration with distances bounded from below [1].

    References:
        [1] Pillutla, Kakade, Harchaoui, Robust Aggregation for Federated Learning, IEEE
            TSP 70, 2022, algorithm 2.
    """
    smallest = _SMOOTHING * float(np.median(norms(products)))
    factors = shares / shares.sum()
    for _ in range(_ITERATIONS):
        pull = shares / np.maximum(_distances(products, factors), max(smallest, 1e-300))
        following = pull / pull.sum()
        moved = float(np.abs(following - factors).max())
        factors = following
        if moved < _SETTLED:
            break
    return on_grid(factors)


def centred_clipping(products: Matrix, shares: Vector) -> Vector:
    """Return the factors of centred clipping, begun at the mean of clipped updates.

    v ← v + Σ share · min(1, τ / ‖u − v‖) (u − v), where τ is the median distance of the
    updates to v, anew each time; the paper has one τ and begins at the last round's v [1].

    References:
        [1] Karimireddy, He, Jaggi, Learning from History for Byzantine Robust Optimization,
            ICML 2021, section 4.
    """
    factors = shares * clip_factors(products, 1.0)
    for _ in range(_CLIPPINGS):
        away = _distances(products, factors)
        pull = shares * np.minimum(1.0, np.median(away) / np.maximum(away, 1e-300))
        factors = (1.0 - pull.sum()) * factors + pull
    return on_grid(factors)


def on_grid(factors: Vector) -> Vector:
    """Round factors to multiples of 2^-40."""
    return np.round(factors * _GRID) / _GRID


def clipped(products: Matrix, factors: Vector) -> Matrix:
    """Return the scalar products of the updates times their factors."""
    return products * np.outer(factors, factors)


def outside(sites: Sequence[str], products: Matrix, times: float) -> tuple[str, ...]:
    """Return the sites whose update is over ``times`` the median norm, or not finite."""
    lengths = norms(products)
    limit = times * float(np.nanmedian(lengths))
    return tuple(site for site, length in zip(sites, lengths, strict=True) if not length <= limit)


def _distances(products: Matrix, factors: Vector) -> Vector:
    """Return the distance of every update to the sum of factor times update."""
    crossed = products @ factors
    squared = np.diagonal(products) - 2.0 * crossed + factors @ crossed
    return np.sqrt(np.maximum(squared, 0.0))
