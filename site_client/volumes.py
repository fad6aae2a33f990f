"""Order the slices of one series into a volume in patient space, or refuse it.

The rules are highdicom's: one orientation, one size, one frame of reference, positions
along the normal that are all different and evenly spaced (PS3.3 C.7.6.2). What does not
fit is refused with a reason, never repaired by guessing. Voxels are Hounsfield units for CT,
(slices, rows, columns), slices towards the head, rows to posterior, columns to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.spatial import get_series_volume_positions
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import (
    MOST_PIXELS,
    UnusableFileError,
    claimed_pixels,
    decode,
    foreign_bytes,
    read_instance,
)
from site_client.images import grey_values

AXES = "HPL"  # slices, rows, columns point to the head, to posterior and to the left
FEWEST_SLICES = 2
_UNEVEN = 0.01  # of the slice distance; a missing slice is 1
_TILTED = 1e-3  # |1 - cosine| between the normal and the line through the slices
_TURNED = 1e-4  # between direction cosines of two slices


@dataclass(frozen=True, slots=True)
class SeriesVolume:
    """One series as a volume, and how its slices lay before they were turned."""

    voxels: NDArray[np.float32]  # (slices, rows, columns)
    spacing_mm: tuple[float, ...]  # between slices, rows, columns
    uids: tuple[str, ...]  # SOPInstanceUIDs in the order of acquisition space
    frame: Any  # highdicom.VolumeGeometry of the slices in that order


def read_volume(paths: Sequence[Path]) -> SeriesVolume:
    """Read one series of single-frame slices, given in any order.

    Raises:
        UnusableFileError: A slice cannot be read; or ``series-mixed``, ``too-few-slices``,
            ``too-large``, ``series-geometry`` (a missing or doubled slice, a tilted gantry,
            uneven distances, no positions at all).
    """
    with foreign_bytes("series-geometry"):
        slices = [read_instance(path) for path in paths]
        _refuse_unlike(slices)
        ordered, distance_mm = _in_order(slices)
        values = np.stack([grey_values(one, decode(one)) for one in ordered])
        volume = _placed(ordered[0], values, distance_mm)
        turned = volume.to_patient_orientation(AXES)
        return SeriesVolume(
            np.ascontiguousarray(turned.array, np.float32),
            tuple(float(length) for length in turned.spacing),
            tuple(str(one.SOPInstanceUID) for one in ordered),
            volume.get_geometry(),
        )


def turn(slices: NDArray[np.uint8], volume: SeriesVolume) -> NDArray[np.uint8]:
    """Bring values that lie slice by slice as ``volume.uids`` onto the volume's axes."""
    turned = volume.frame.with_array(slices).to_patient_orientation(AXES)
    return np.ascontiguousarray(turned.array, np.uint8)


def _refuse_unlike(slices: Sequence[Dataset]) -> None:
    if len(slices) < FEWEST_SLICES:
        raise UnusableFileError("too-few-slices")
    if sum(map(claimed_pixels, slices)) > MOST_PIXELS:
        raise UnusableFileError("too-large")
    kinds = {
        (one.Rows, one.Columns, one.FrameOfReferenceUID, tuple(one.PixelSpacing)) for one in slices
    }
    if len(kinds) > 1:
        raise UnusableFileError("series-mixed")


def _in_order(slices: Sequence[Dataset]) -> tuple[list[Dataset], float]:
    distance_mm, places = get_series_volume_positions(
        slices, rtol=_UNEVEN, perpendicular_tol=_TILTED, orientation_tol=_TURNED
    )
    if distance_mm is None or places is None:
        raise UnusableFileError("series-geometry")
    pairs = sorted(zip(places, range(len(slices)), strict=True))
    return [slices[index] for _, index in pairs], float(distance_mm)


def _placed(first: Dataset, values: NDArray[np.float32], distance_mm: float) -> Any:
    return highdicom.Volume.from_attributes(
        array=values,
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=distance_mm,
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.FrameOfReferenceUID,
    )
