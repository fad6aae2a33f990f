"""What stored values mean: Hounsfield units, the machine's own units, or a share of the scale.

The one place that knows the Modality LUT and MONOCHROME1. It takes opened data sets and decoded
arrays and opens nothing itself. Windows (VOI) are for people and are applied nowhere: they are
a choice of display that differs from console to console.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import UnusableFileError

HOUNSFIELD_MODALITY = "CT"
RESCALED_MODALITIES = ("MR", "PT")  # values have a meaning, the stored range has none
_HOUNSFIELD_TYPES = ("", "HU")  # RescaleType; others are maps of something else (PS3.3 C.8.2.1)


def grey_values(instance: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return what the stored values of one image or frame mean.

    CT, MR and PET: the Modality LUT as rescale slope and intercept (PS3.3 C.11.1), of this
    slice alone: neighbours may have others. CT is then in Hounsfield units. Radiographs: the
    rescaled value relative to the rescaled stored range (BitsStored, PixelRepresentation;
    PS3.3 C.7.6.3.1), in which a positive slope cancels and a negative one turns the scale
    over; MONOCHROME1 turns it over too, so that 1 is what a viewer shows white.

    Args:
        instance: The header; for a frame of a multi-frame image, the frame's own.
        stored: Values as decoded, (rows, columns).

    Raises:
        UnusableFileError: ``grey-scale-unknown``: a look-up table in place of a slope, a slope
            of 0, a CT whose values are not Hounsfield units, or a photometric interpretation
            that the modality does not have.
    """
    slope, intercept = _rescale(instance)
    modality = instance.get("Modality")
    if modality == HOUNSFIELD_MODALITY or modality in RESCALED_MODALITIES:
        _refuse_unknown_units(instance)
        values = stored.astype(np.float64) * slope + intercept
        return np.asarray(values, np.float32)
    low, high = _stored_range(instance)
    share = np.clip((stored.astype(np.float32) - low) / np.float32(high - low), 0, 1)
    return _bright_is_high(instance, share if slope > 0 else 1 - share)


def _refuse_unknown_units(instance: Dataset) -> None:
    # A slice that says MONOCHROME1 was written by a converter that may have turned its values
    # over or not; nothing in the file tells.
    if instance.PhotometricInterpretation != "MONOCHROME2":
        raise UnusableFileError("grey-scale-unknown", "a slice that is not MONOCHROME2")
    hounsfield = instance.get("Modality") == HOUNSFIELD_MODALITY
    if hounsfield and str(instance.get("RescaleType") or "") not in _HOUNSFIELD_TYPES:
        raise UnusableFileError("grey-scale-unknown", "a CT in other units than Hounsfield's")


def _bright_is_high(instance: Dataset, share: NDArray[np.float32]) -> NDArray[np.float32]:
    photometric = instance.PhotometricInterpretation
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnusableFileError("grey-scale-unknown", "a photometric interpretation not grey")
    return 1 - share if photometric == "MONOCHROME1" else share


def _rescale(instance: Dataset) -> tuple[float, float]:
    slope = float(instance.get("RescaleSlope", 1))
    intercept = float(instance.get("RescaleIntercept", 0))
    usable = np.isfinite(slope) and slope != 0 and np.isfinite(intercept)
    if not usable or "ModalityLUTSequence" in instance:
        raise UnusableFileError("grey-scale-unknown", "no usable rescale slope")
    return slope, intercept


def _stored_range(instance: Dataset) -> tuple[np.float32, np.float32]:
    levels = 1 << int(instance.BitsStored)
    signed = int(instance.PixelRepresentation) == 1
    low, high = (-levels // 2, levels // 2 - 1) if signed else (0, levels - 1)
    return np.float32(low), np.float32(high)
