"""The weighted sum of updates that lie in files, one small piece in memory at a time.

For every piece of every tensor all files are read one after the other into one buffer that
stays in the processor's cache; the sum is kept in float64 and rounded once. Memory is the
result plus the buffers, whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregator.aggregation.updates import Updates
from fedrad.errors import RunError
from fedrad.parameters import Parameters


def weighted_mean(files: Mapping[str, Path], weights: Mapping[str, float]) -> Parameters:
    """Return the sum over sites of weight times update.

    Args:
        files: Site name to the safetensors file of its update; all with the same tensors.
        weights: Site name to its share; the shares of ``files`` sum to 1.

    Returns:
        The mean, with the names, shapes and dtypes of the updates.

    Raises:
        DamagedStateError: A file is missing, cut short or not safetensors of floats.
        RunError: The files hold different tensors, or the shares do not sum to 1.
    """
    if abs(sum(weights[site] for site in sorted(files)) - 1) > 1e-9:
        raise RunError("the shares of an aggregate must sum to 1")
    with Updates(files) as updates:
        return weighted_sum(updates, [weights[site] for site in updates.sites])


def weighted_sum(updates: Updates, factors: list[float]) -> Parameters:
    """Return the sum of factor times update over ``updates.sites``; any factors.

    Raises:
        DamagedStateError: A file is cut short.
    """
    return {name: _fold(name, updates, factors) for name in updates.tensors}


def _fold(name: str, updates: Updates, factors: list[float]) -> npt.NDArray[Any]:
    place = updates.tensors[name]
    mean = np.empty(place.shape, place.dtype)
    flat = mean.reshape(-1)
    widest = max((part.count for part in updates.pieces(name)), default=0)
    piece = np.empty(widest, place.dtype)
    total = np.empty(piece.size, np.float64)
    scratch = np.empty(piece.size, np.float64)
    for part in updates.pieces(name):
        count = part.count
        values, product, added = piece[:count], scratch[:count], total[:count]
        added.fill(0)
        for site, factor in enumerate(factors):
            updates.read(site, part, values)
            np.copyto(product, values)  # a cast on its own is faster than one in multiply
            product *= factor
            added += product
        flat[part.start : part.start + count] = added
    return mean
