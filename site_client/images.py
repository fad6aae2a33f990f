"""Read one image: stored values to float32, bright where the tissue is dense.

A projection radiograph becomes [0, 1] by its stored bit depth; a CT slice becomes
Hounsfield units. MONOCHROME1 is turned over here and nowhere else. No window, no resizing:
those are the recipe's. Arrays are (rows, columns); lengths are millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import (
    UnusableFileError,
    decode,
    foreign_bytes,
    read_instance,
)

HOUNSFIELD_MODALITY = "CT"


@dataclass(frozen=True, slots=True)
class Image:
    """One image with what later steps need of its header."""

    pixels: NDArray[np.float32]  # (rows, columns)
    spacing_mm: tuple[float, ...]  # between rows, between columns; empty if unknown
    uid: str  # SOPInstanceUID, to find its mask; never leaves this process


def read_image(path: Path) -> Image:
    """Read one single-frame grey image.

    Returns:
        Hounsfield units for CT, else [0, 1] where 1 is what a viewer shows white.

    Raises:
        UnusableFileError: The file, its pixels or its grey scale cannot be used.
    """
    instance = read_instance(path)
    stored = decode(instance)
    if stored.ndim != 2:
        raise UnusableFileError("multi-frame")
    with foreign_bytes("unreadable"):
        pixels = grey_values(instance, stored)
        return Image(pixels, _spacing_mm(instance), str(instance.SOPInstanceUID))


def grey_values(instance: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return what the stored values mean.

    CT: the Modality LUT as rescale slope and intercept (PS3.3 C.11.1.1.2). Others: the
    rescaled value relative to the rescaled stored range (BitsStored, PixelRepresentation;
    PS3.3 C.7.6.3.1), in which a positive slope cancels and a negative one turns the scale
    over.

    Args:
        instance: The header.
        stored: Values as decoded, (rows, columns).

    Raises:
        UnusableFileError: ``grey-scale-unknown``: a look-up table in place of a slope, a slope
            of 0, or a photometric interpretation that is not grey.
    """
    slope, intercept = _rescale(instance)
    values = stored.astype(np.float32)
    if instance.get("Modality") == HOUNSFIELD_MODALITY:
        if instance.PhotometricInterpretation != "MONOCHROME2":
            raise UnusableFileError("grey-scale-unknown")
        return np.asarray(values * np.float32(slope) + np.float32(intercept), np.float32)
    low, high = _stored_range(instance)
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return _bright_is_high(instance, share if slope > 0 else 1 - share)


def _bright_is_high(instance: Dataset, share: NDArray[np.float32]) -> NDArray[np.float32]:
    photometric = instance.PhotometricInterpretation
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnusableFileError("grey-scale-unknown")
    return 1 - share if photometric == "MONOCHROME1" else share


def _rescale(instance: Dataset) -> tuple[float, float]:
    slope = float(instance.get("RescaleSlope", 1))
    intercept = float(instance.get("RescaleIntercept", 0))
    usable = np.isfinite(slope) and slope != 0 and np.isfinite(intercept)
    if not usable or "ModalityLUTSequence" in instance:
        raise UnusableFileError("grey-scale-unknown")
    return slope, intercept


def _stored_range(instance: Dataset) -> tuple[int, int]:
    levels = 1 << int(instance.BitsStored)
    signed = int(instance.PixelRepresentation) == 1
    return (-levels // 2, levels // 2 - 1) if signed else (0, levels - 1)


def _spacing_mm(instance: Dataset) -> tuple[float, ...]:
    # PixelSpacing is in the patient, ImagerPixelSpacing at the detector (PS3.3 10.7.1.3).
    raw = instance.get("PixelSpacing") or instance.get("ImagerPixelSpacing") or ()
    spacing = tuple(float(value) for value in raw)
    usable = len(spacing) == 2 and all(np.isfinite(s) and s > 0 for s in spacing)
    return spacing if usable else ()
