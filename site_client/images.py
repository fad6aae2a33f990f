"""Read one image: stored values to float32, bright where the tissue is dense.

A projection radiograph becomes [0, 1] by its stored bit depth; a CT slice becomes
Hounsfield units: what values mean, MONOCHROME1 included, is decided in ``grey``. No window, no
resizing: those are the recipe's. Arrays are (rows, columns); lengths are millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from site_client.archive.instances import (
    UnusableFileError,
    decode,
    foreign_bytes,
    read_instance,
)
from site_client.grey import grey_values
from site_client.picture import picture
from site_client.spacing import patient_spacing_mm


@dataclass(frozen=True, slots=True)
class Image:
    """One image with what later steps need of its header."""

    pixels: NDArray[np.float32]  # (rows, columns)
    spacing_mm: tuple[float, ...]  # in the patient, between rows, columns; empty if unknown
    uid: str  # SOPInstanceUID, to find its mask; never leaves this process


def read_image(path: Path) -> Image:
    """Read one single-frame grey image.

    Returns:
        Hounsfield units for CT, else [0, 1] where 1 is what a viewer shows white.

    Raises:
        UnusableFileError: The file, its pixels or its grey scale cannot be used.
    """
    instance = picture(read_instance(path))
    stored = decode(instance)
    if stored.ndim != 2:
        raise UnusableFileError("multi-frame")
    with foreign_bytes("grey-scale-unknown"):
        pixels = grey_values(instance, stored)
    with foreign_bytes("unreadable"):
        return Image(pixels, patient_spacing_mm(instance), str(instance.SOPInstanceUID))
