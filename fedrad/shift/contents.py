"""What a window tells of what its images show: a clipped sum of sixteen encoded numbers.

The mean over a patient's images comes first, so a patient counts once. Scales and the
covariance among patients are public (``encoder-1``, fitted on phantoms). How an image is encoded
is ``encoder``'s business, which needs torch; this does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrad.constants import read_constants
from fedrad.errors import DataError

Floats = npt.NDArray[np.float64]

CONSTANTS = "encoder-1"
LENGTH = 16
CLIP = 2.0  # of a patient's L2 norm: the sensitivity of a sum


def patient_contents(images: Sequence[npt.ArrayLike]) -> Floats:
    """Return one patient's contents from the encoded images.

    The mean over a patient's images comes first, then it is scaled down to the norm ``CLIP``
    where it is longer. A value that is not finite counts as 0.

    Args:
        images: For each image (16,) as ``encode``.

    Returns:
        (16,) of L2 norm at most ``CLIP``.

    Raises:
        DataError: No image, or not sixteen numbers an image.
    """
    rows = np.asarray(images, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != LENGTH or not len(rows):
        raise DataError(f"a patient has {LENGTH} contents an image, got {rows.shape}")
    mean = np.where(np.isfinite(rows), np.clip(rows, -CLIP, CLIP), 0.0).mean(axis=0)
    return np.asarray(mean * min(1.0, CLIP / max(float(np.linalg.norm(mean)), 1e-300)))


@lru_cache(maxsize=1)
def covariance() -> Floats:
    """Return the public covariance (16, 16) among patients of one scanner."""
    return np.array(read_constants(CONSTANTS)["values"]["covariance"])
