"""Bring a map on the network's grid back onto the image's own: the recipe, backwards.

Padding is cut off and what was cropped away becomes 0; then the map is interpolated to the
image's size. Arrays are (rows, columns) or (slices, rows, columns), float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import ResizeWithPadOrCrop
from numpy.typing import NDArray

from fedrad.task import Task
from site_client.preprocess import resized_shape

Floats = NDArray[np.float32]


def restored(
    values: Floats, shape: Sequence[int], spacing_mm: Sequence[float], task: Task
) -> Floats:
    """Return a map of the network on the grid of the image that it was made of.

    Args:
        values: ``recipe.size``, such as the probability of a class.
        shape: Of the image, as read.
        spacing_mm: As for ``preprocess.prepare_image``.
        task: Its recipe and spacing.

    Returns:
        An array of ``shape``; 0 where the network saw nothing.
    """
    resized = resized_shape(shape, spacing_mm, task)
    whole = np.zeros(resized, np.float32)
    pairs = [_common(before, after) for before, after in zip(resized, values.shape, strict=True)]
    theirs, ours = zip(*pairs, strict=True)
    whole[theirs] = values[ours]
    return _interpolated(whole, shape)


def _common(before: int, after: int) -> tuple[slice, slice]:
    """Return which part of an axis the recipe kept, and where it went; asked of MONAI itself."""
    count = torch.arange(1, before + 1, dtype=torch.float64)[None]
    kept = np.asarray(ResizeWithPadOrCrop([after])(count))[0].astype(int)
    found = np.flatnonzero(kept)
    first, last = kept[found[0]] - 1, kept[found[-1]]
    return slice(first, last), slice(found[0], found[-1] + 1)


def _interpolated(values: Floats, shape: Sequence[int]) -> Floats:
    if values.shape == tuple(shape):
        return values
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    tensor = torch.from_numpy(values)[None, None]
    grown = torch.nn.functional.interpolate(tensor, size=tuple(shape), mode=mode)
    return np.ascontiguousarray(grown[0, 0].numpy(), np.float32)
