"""How large a radiograph's pixels are in the patient, which is not what its detector says.

PixelSpacing may be either; ImagerPixelSpacing is at the detector, where everything is larger by
the magnification of the beam (PS3.3 10.7.1.3). They are kept apart: a detector's spacing becomes
the patient's only through a stated magnification, and is otherwise no answer.
"""

from __future__ import annotations

import math

from pydicom.dataset import Dataset

_SAME = 1e-3  # relative: the two attributes say one thing
_CALIBRATED = ("GEOMETRY", "FIDUCIAL")  # PixelSpacingCalibrationType


def patient_spacing_mm(instance: Dataset) -> tuple[float, ...]:
    """Return the distance of pixel centres in the patient, between rows and between columns.

    PixelSpacing where it is calibrated, where it differs from ImagerPixelSpacing, or where
    there is no ImagerPixelSpacing; else the detector's divided by
    EstimatedRadiographicMagnificationFactor.

    Returns:
        Two lengths in mm, or nothing where only the detector's are known.
    """
    patient = _pair(instance, "PixelSpacing")
    detector = _pair(instance, "ImagerPixelSpacing")
    calibrated = str(instance.get("PixelSpacingCalibrationType") or "") in _CALIBRATED
    if patient and (calibrated or not detector or not _same(patient, detector)):
        return patient
    factor = float(instance.get("EstimatedRadiographicMagnificationFactor") or 0)
    usable = detector and math.isfinite(factor) and factor >= 1
    return tuple(mm / factor for mm in detector) if usable else ()


def _pair(instance: Dataset, name: str) -> tuple[float, ...]:
    found = tuple(float(value) for value in instance.get(name) or ())
    return found if len(found) == 2 and all(0 < mm < math.inf for mm in found) else ()


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= _SAME * b for a, b in zip(one, other, strict=True))
