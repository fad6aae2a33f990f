"""What a window tells of its images: clipped sums of standardised descriptors and their squares.

The mean over a patient's images comes first, so a patient counts once however many images
there are. Scales are public constants, never from a site's data: ``descriptors-1`` of phantoms,
``descriptors-2`` of public radiographs. The task says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrad.constants import read_constants
from fedrad.errors import DataError
from fedrad.shift.descriptors import NAMES

Floats = npt.NDArray[np.float64]

CONSTANTS = "descriptors-1"
KNOWN = (CONSTANTS, "descriptors-2")
CLIP = 2.0  # of the joint L2 norm of a patient's moments: the sensitivity of their sum
WIDTH = 2.0  # public deviations that z = 1 stands for: hospitals differ more than phantoms
FARTHEST = 3.0  # of a standardised descriptor, either side
LENGTH = 2 * len(NAMES)


def patient_moments(images: Sequence[npt.ArrayLike], constants: str = CONSTANTS) -> Floats:
    """Return one patient's moments from the descriptors of each of their images.

    With z the mean over images of (descriptor - mean) / (2 deviations), cut to ``FARTHEST`` either
    side, the moments are z and z² / √2, together scaled down to the norm ``CLIP`` where they
    are longer. A descriptor that is not finite counts as z = 0: what is odd about one patient
    must show in the noised sum alone.

    Args:
        images: For each image, (9,) as ``descriptors.describe``.
        constants: The name of the public scales.

    Returns:
        (18,) of L2 norm at most ``CLIP``.

    Raises:
        DataError: No image, or not nine numbers an image.
    """
    rows = np.asarray(images, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(NAMES) or not len(rows):
        raise DataError(f"a patient has {len(NAMES)} descriptors an image, got {rows.shape}")
    return _bounded(_standardised(rows, constants).mean(axis=0))


def moments_of_single(images: npt.ArrayLike, constants: str = CONSTANTS) -> Floats:
    """Return the moments (n, 18) of many patients of one image each, each as ``patient_moments``.

    Args:
        images: (n, 9) descriptors.
        constants: The name of the public scales.

    Raises:
        DataError: Not nine numbers an image.
    """
    rows = np.asarray(images, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(NAMES):
        raise DataError(f"a patient has {len(NAMES)} descriptors an image, got {rows.shape}")
    return _bounded(_standardised(rows, constants))


def _standardised(rows: Floats, constants: str) -> Floats:
    mean, unit = scales(constants)
    with np.errstate(over="ignore"):
        each = (rows - mean) / unit
    return np.where(np.isfinite(each), np.clip(each, -FARTHEST, FARTHEST), 0.0)


def _bounded(z: Floats) -> Floats:
    both = np.concatenate([z, np.square(z) / math.sqrt(2)], axis=-1)
    length = np.linalg.norm(both, axis=-1, keepdims=True)
    return np.asarray(both * np.minimum(1.0, CLIP / np.maximum(length, 1e-300)))


@lru_cache(maxsize=4)
def scales(constants: str = CONSTANTS) -> tuple[Floats, Floats]:
    """Return the public centre of each descriptor and what counts as one unit from there."""
    values = read_constants(constants)["values"]
    return np.array(values["mean"]), WIDTH * np.array(values["deviation"])


@lru_cache(maxsize=4)
def covariance(constants: str = CONSTANTS) -> Floats:
    """Return the public covariance (9, 9) of z among patients of one scanner.

    A site's own differs: ``reference`` takes only the correlations where it can.
    """
    return np.array(read_constants(constants)["values"]["covariance"])
