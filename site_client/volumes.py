"""Make one volume of the slices of a series, or of the frames of an enhanced object.

Which slices make a volume is decided in ``geometry``, what their values mean in ``grey``: both
slice by slice, before anything is stacked. Voxels are (slices, rows, columns): slices towards
the head, rows to posterior, columns to the left, Hounsfield units for CT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
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
from site_client.frames import frame_headers, is_enhanced
from site_client.geometry import stack_of
from site_client.grey import grey_values
from site_client.picture import picture

AXES = "HPL"  # slices, rows, columns point to the head, to posterior and to the left
_SAME_MM = 1e-3  # between our grid and highdicom's of an enhanced object


@dataclass(frozen=True, slots=True)
class SeriesVolume:
    """One series as a volume, and how its slices lay before they were turned."""

    voxels: NDArray[np.float32]  # (slices, rows, columns)
    spacing_mm: tuple[float, ...]  # between slices, rows, columns
    uids: tuple[str, ...]  # SOPInstanceUID of each slice in the order of acquisition space
    frame: Any  # highdicom.VolumeGeometry of the slices in that order
    frames: tuple[int, ...] = ()  # frame numbers from 1, for an enhanced object


def read_volume(paths: Sequence[Path]) -> SeriesVolume:
    """Read one series: slices in any order, or the one file of an enhanced object.

    Raises:
        UnusableFileError: A file cannot be read, or any of ``volume_of_instances``.
    """
    return volume_of_instances([picture(read_instance(path)) for path in paths])


def volume_of_instances(instances: Sequence[Dataset]) -> SeriesVolume:
    """Make a volume of the opened files of one series; pixels still encoded.

    Raises:
        UnusableFileError: ``too-large``, ``series-mixed`` (an enhanced object among others),
            ``pixels-unreadable``, or any of ``volume_of``.
    """
    with foreign_bytes("series-geometry"):
        if sum(map(claimed_pixels, instances)) > MOST_PIXELS:
            raise UnusableFileError("too-large")
        if not any(map(is_enhanced, instances)):
            return volume_of(instances, lambda index: decode(instances[index]))
        if len(instances) > 1:
            raise UnusableFileError("series-mixed", f"{len(instances)} objects, some enhanced")
        return _volume_of_frames(instances[0])


def volume_of(
    slices: Sequence[Dataset], stored: Callable[[int], NDArray[np.generic]]
) -> SeriesVolume:
    """Make a volume of slices.

    Args:
        slices: Headers with one plane each, in any order.
        stored: Gives the stored values of the slice at an index, (rows, columns); called once
            for each, after the geometry was found right.

    Raises:
        UnusableFileError: Any of ``geometry.stack_of`` and ``grey.grey_values``, or
            ``series-geometry``: the header lacks what it must have.
    """
    with foreign_bytes("series-geometry"):
        stack = stack_of(slices)
        values = np.stack([_values(slices[index], stored(index)) for index in stack.order])
        volume = _placed(slices[stack.order[0]], values, stack.distance_mm)
        turned = volume.to_patient_orientation(AXES)
        return SeriesVolume(
            np.ascontiguousarray(turned.array, np.float32),
            tuple(float(length) for length in turned.spacing),
            tuple(str(slices[index].SOPInstanceUID) for index in stack.order),
            volume.get_geometry(),
        )


def turn(slices: NDArray[np.uint8], volume: SeriesVolume) -> NDArray[np.uint8]:
    """Bring values that lie slice by slice as ``volume.uids`` onto the volume's axes."""
    turned = volume.frame.with_array(slices).to_patient_orientation(AXES)
    return np.ascontiguousarray(turned.array, np.uint8)


def places(volume: SeriesVolume) -> NDArray[np.int32]:
    """Return, for every voxel, its place in the flattened slices in the order of ``uids``."""
    shape = volume.frame.spatial_shape
    count = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    turned = volume.frame.with_array(count).to_patient_orientation(AXES)
    return np.ascontiguousarray(turned.array, np.int32)


def _volume_of_frames(instance: Dataset) -> SeriesVolume:
    headers = frame_headers(instance)
    order = stack_of(headers).order  # before any pixel is decoded
    stored = decode(instance)
    if len(stored) != len(headers):
        raise UnusableFileError(
            "series-geometry", f"{len(stored)} frames of pixels, {len(headers)} described"
        )
    volume = volume_of(headers, lambda index: stored[index])
    _refuse_another_grid(instance, volume)
    numbers = tuple(index + 1 for index in order)
    return SeriesVolume(volume.voxels, volume.spacing_mm, volume.uids, volume.frame, numbers)


def _refuse_another_grid(instance: Dataset, volume: SeriesVolume) -> None:
    """Ask highdicom, which reads the functional groups by itself, for the same grid."""
    theirs = highdicom.Image.from_dataset(instance, copy=False).get_volume_geometry()
    if theirs is None or np.abs(theirs.affine - volume.frame.affine).max() > _SAME_MM:
        raise UnusableFileError("series-geometry", "highdicom finds another volume")


def _values(header: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    if stored.shape != (int(header.Rows), int(header.Columns)):
        raise UnusableFileError("multi-frame", "a slice that is not one plane of grey values")
    return grey_values(header, stored)


def _placed(first: Dataset, values: NDArray[np.float32], distance_mm: float) -> Any:
    return highdicom.Volume.from_attributes(
        array=values,
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=distance_mm,
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.get("FrameOfReferenceUID"),
    )
