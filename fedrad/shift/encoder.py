"""Sixteen numbers of what an image shows: a frozen filter bank, seen from afar.

Descriptors see a machine; these see anatomy, devices and how a patient stands. The responses of
the public filter bank (``filter-bank-1``) to the image at 64 pixels are averaged over a grid of
three by three and projected on directions fitted on phantoms (``encoder-1``,
``benchmarks/make_encoder_constants.py``). Each image is brought to mean 0 and deviation 1 first,
so a gain or an offset changes nothing here. What becomes of them is ``contents``' business.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from fedrad.constants import read_constants
from fedrad.errors import DataError
from fedrad.models.filter_bank import FilterBank
from fedrad.shift.contents import CONSTANTS

Floats = npt.NDArray[np.float64]

BANK = "filter-bank-1"
GRID, SIZE = 3, 64
MOST_SLICES = 5


def encode(image: npt.NDArray[np.float32]) -> Floats:
    """Return what one image shows; of a volume the mean over evenly placed slices.

    Args:
        image: (rows, columns) or (slices, rows, columns), after the task's recipe.

    Returns:
        (16,) without unit; a patient of a phantom hospital has about norm 1.

    Raises:
        DataError: It has another number of axes, or is empty.
    """
    values = np.asarray(image, dtype=np.float32)
    if values.ndim not in (2, 3) or not values.size:
        raise DataError(f"an encoder needs an image or a volume, got the shape {values.shape}")
    planes = values[None] if values.ndim == 2 else values
    places = np.linspace(0, len(planes) - 1, min(len(planes), MOST_SLICES)).round().astype(int)
    mean, deviation, projection = _public()
    seen = (responses(planes[places]) - mean) / deviation @ projection
    return np.asarray(seen.mean(axis=0))


def responses(planes: npt.NDArray[np.float32]) -> Floats:
    """Return (n, channels × 9) averaged responses of planes (n, rows, columns)."""
    with torch.no_grad():
        images = torch.from_numpy(np.nan_to_num(planes))[:, None]
        small = functional.interpolate(images, (SIZE, SIZE), mode="area")
        maps = functional.adaptive_avg_pool2d(_bank()(small), GRID)
    return np.asarray(maps.flatten(1).numpy(), dtype=np.float64)


def norm_of(rows: Floats) -> float:
    """Return the root mean square norm of rows (n, 16): what public scales are made with."""
    return math.sqrt(float(np.square(rows).sum(axis=1).mean()))


@lru_cache(maxsize=1)
def _bank() -> FilterBank:
    return FilterBank(read_constants(BANK)["values"]).eval()


@lru_cache(maxsize=1)
def _public() -> tuple[Floats, Floats, Floats]:
    values = read_constants(CONSTANTS)["values"]
    return (
        np.array(values["mean"]),
        np.array(values["deviation"]),
        np.array(values["projection"]),
    )
