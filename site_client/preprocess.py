"""The deterministic part of a recipe: from grey values or Hounsfield units to network input.

An image is resampled to the task's spacing, or else fitted into the recipe's size with its
proportions kept; its intensity is mapped by public constants; the rest is padding of value
0. Masks go the same way with a threshold at one half. Arrays are (rows, columns) or
(slices, rows, columns) on the way in and have one channel in front on the way out.

MONAI takes seconds to import: a program whose images are all in the cache never does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedrad.constants import limits_of, read_constants
from fedrad.errors import SettingsError
from fedrad.settings import as_table
from fedrad.task import Intensity, Task
from site_client.archive.instances import UnusableFileError

VERSION = "2"  # raise when the same image would come out differently


def recipe_key(task: Task) -> dict[str, Any]:
    """Return everything but the pixels that decides what ``prepare_image`` returns.

    Augmentation is left out: it happens after the cache.
    """
    return {
        "version": VERSION,
        "recipe": as_table(dataclasses.replace(task.recipe, augment=())),
        "constants": read_constants(task.recipe.intensity.constants),
        "spacing_mm": list(task.data.spacing_mm),
    }


def prepare_image(
    values: NDArray[np.float32], spacing_mm: Sequence[float], task: Task
) -> NDArray[np.float32]:
    """Apply the recipe to one image or volume.

    Args:
        values: (rows, columns) in [0, 1], or (slices, rows, columns) in Hounsfield units.
        spacing_mm: One length for each axis; may be empty if the task names no spacing.
        task: Its recipe and spacing.

    Returns:
        float32 (1, *recipe.size), every value finite.

    Raises:
        UnusableFileError: ``spacing-unknown`` where the task needs it, ``not-finite``.
        SettingsError: The named constants do not fit the kind of intensity.
    """
    if not np.isfinite(values).all():
        raise UnusableFileError("not-finite")
    shape = resized_shape(values.shape, spacing_mm, task)
    steps = [*_resizing(values.shape, shape), *_intensity(task.recipe.intensity)]
    steps += _padding(shape, task.recipe.size)
    return _applied(steps, np.ascontiguousarray(values))


def prepare_mask(
    mask: NDArray[np.uint8], spacing_mm: Sequence[float], task: Task
) -> NDArray[np.uint8]:
    """Bring a mask onto the grid of ``prepare_image``.

    Args:
        mask: 0 or 1, the shape of the image it belongs to.
        spacing_mm: As for the image.
        task: Its recipe and spacing.

    Returns:
        uint8 (1, *recipe.size): 1 where at least half of the new pixel is inside.

    Raises:
        UnusableFileError: ``spacing-unknown``.
    """
    shape = resized_shape(mask.shape, spacing_mm, task)
    steps = _resizing(mask.shape, shape) + _padding(shape, task.recipe.size)
    return np.asarray(_applied(steps, mask.astype(np.float32)) >= 0.5, np.uint8)


def resized_shape(shape: Sequence[int], spacing_mm: Sequence[float], task: Task) -> tuple[int, ...]:
    """Return the shape after resampling, before padding or cropping to the recipe's size.

    Raises:
        UnusableFileError: ``spacing-unknown``: the task resamples and the image does not
            say how large its pixels are.
    """
    wanted = task.data.spacing_mm
    if wanted:
        if len(spacing_mm) != len(shape):
            raise UnusableFileError("spacing-unknown")
        lengths = zip(shape, spacing_mm, wanted, strict=True)
        return tuple(max(1, round(n * now / then)) for n, now, then in lengths)
    factor = min(size / n for size, n in zip(task.recipe.size, shape, strict=True))
    return tuple(max(1, round(n * factor)) for n in shape)


def _resizing(shape: Sequence[int], wanted: Sequence[int]) -> list[Any]:
    """Average over area where an axis shrinks (no aliasing), then interpolate where it grows."""
    from monai.transforms import Resize

    smaller = tuple(min(now, then) for now, then in zip(shape, wanted, strict=True))
    linear = "bilinear" if len(shape) == 2 else "trilinear"
    steps = [Resize(smaller, mode="area")] if smaller != tuple(shape) else []
    return steps + ([Resize(wanted, mode=linear)] if smaller != tuple(wanted) else [])


def _padding(shape: Sequence[int], size: Sequence[int]) -> list[Any]:
    from monai.transforms import ResizeWithPadOrCrop

    return [] if tuple(shape) == tuple(size) else [ResizeWithPadOrCrop(size)]


def _intensity(intensity: Intensity) -> list[Any]:
    from monai.transforms import Lambda, NormalizeIntensity, ScaleIntensityRange

    values = read_constants(intensity.constants)["values"]
    try:
        if intensity.kind == "zscore":
            most = float(values["clip"])
            return [NormalizeIntensity(), Lambda(lambda image: image.clamp(-most, most))]
        low, high = limits_of(values)
    except KeyError as missing:
        line = f"{intensity.kind!r} needs {missing} among the constants {intensity.constants!r}"
        raise SettingsError("recipe.intensity", (line,)) from None
    return [ScaleIntensityRange(a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True)]


def _applied(steps: list[Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the steps on plain tensors: MONAI's bookkeeping of where an image was costs as much."""
    from monai.data import get_track_meta, set_track_meta
    from monai.transforms import Compose

    before = get_track_meta()
    set_track_meta(False)
    try:
        image = Compose(steps)(torch.from_numpy(values)[None])
    finally:
        set_track_meta(before)
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    return np.ascontiguousarray(plain.numpy(), dtype=np.float32)
