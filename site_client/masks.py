"""Read truth drawn as DICOM SEG: 0 or 1 on the grid of its image or series.

On a radiograph, frames are found through the SOPInstanceUID of the image they were drawn on
(PS3.3 A.51). On a series they are found by where they lie, corner by corner; an image that they
name must be the slice there. An image without a frame inside its object has an empty mask,
which is a legal truth: nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import (
    UnusableFileError,
    decode,
    foreign_bytes,
    read_instance,
)
from site_client.frames import frame_headers
from site_client.volumes import SeriesVolume

OFF_GRID = 0.1  # of a voxel, at a frame's corners


def read_masks(
    paths: Sequence[Path], uids: Sequence[str], classes: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Read what was drawn on the images ``uids``, radiographs each.

    Args:
        paths: DICOM SEG files; a pixel is inside if any of them says so.
        uids: SOPInstanceUIDs of the images, in the order wanted.
        classes: The task's map from SegmentLabel to class index; segments of class 1 count.
            Empty: every segment counts.

    Returns:
        uint8 (images, rows, columns), 0 or 1.

    Raises:
        UnusableFileError: ``mask-unreadable``, ``mask-other-size``, or ``mask-other-class``:
            no object holds a segment that the task knows.
    """
    found = [image_mask(read_instance(path), uids, classes) for path in paths]
    return joined([mask for mask in found if mask is not None])


def joined(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return 1 where any of the masks is inside.

    Raises:
        UnusableFileError: ``mask-other-class``: there is none; ``mask-other-size``.
    """
    if not masks:
        raise UnusableFileError("mask-other-class")
    if len({mask.shape for mask in masks}) > 1:
        raise UnusableFileError("mask-other-size")
    return np.asarray(np.any(masks, axis=0), np.uint8)


def image_mask(
    instance: Dataset, uids: Sequence[str], classes: Mapping[str, int]
) -> NDArray[np.bool_] | None:
    """Return what one opened SEG draws on images, or ``None`` if it has no wanted segment."""
    with foreign_bytes("mask-unreadable"):
        _give_radiographs_a_thickness(instance)
        drawn = highdicom.seg.Segmentation.from_dataset(instance, copy=False)
        segments = _wanted(instance, classes)
        if not segments:
            return None
        inside = drawn.get_pixels_by_source_instance(
            list(uids),
            segment_numbers=segments,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
        return np.asarray(inside.max(axis=-1) >= 0.5)  # fractional objects hold shares


def series_mask(
    instance: Dataset, volume: SeriesVolume, classes: Mapping[str, int]
) -> NDArray[np.bool_] | None:
    """Return what one opened SEG draws on a series, or ``None`` if it has no wanted segment.

    Returns:
        bool (slices, rows, columns), slices in the order of ``volume.uids``.

    Raises:
        UnusableFileError: ``mask-unreadable``, ``mask-other-frame``, ``mask-other-grid``,
            ``mask-other-series`` or ``mask-other-slice``.
    """
    with foreign_bytes("mask-unreadable"):
        segments = _wanted(instance, classes)
        if not segments:
            return None
        frame = volume.frame.frame_of_reference_uid
        if frame and instance.get("FrameOfReferenceUID") not in (None, "", frame):
            raise UnusableFileError("mask-other-frame")
        mask = np.zeros(volume.frame.spatial_shape, np.bool_)
        for number, inside in _frames(instance, volume, segments):
            mask[number] |= inside
        return mask


def _frames(
    instance: Dataset, volume: SeriesVolume, segments: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the slice's number and the mask of each frame of a wanted segment."""
    stored = decode(instance).reshape(-1, int(instance.Rows), int(instance.Columns))
    headers = frame_headers(instance)
    if len(stored) != len(headers):
        raise UnusableFileError("mask-unreadable", "frames that are not described")
    labels = instance.SegmentationType == "LABELMAP"
    half = max(1, int(instance.get("MaximumFractionalValue") or 1)) / 2
    for header, values in zip(headers, stored, strict=True):
        if labels:
            yield _slice_of(header, volume), np.isin(values, segments)
        elif int(header.ReferencedSegmentNumber) in segments:
            yield _slice_of(header, volume), np.asarray(values >= half)


def _slice_of(header: Dataset, volume: SeriesVolume) -> int:
    places = np.asarray(volume.frame.map_reference_to_indices(_corners_mm(header)))
    number = round(float(places[0, 0]))
    slices, rows, columns = volume.frame.spatial_shape
    ends = [(number, row, column) for row in (0, rows - 1) for column in (0, columns - 1)]
    off = float(np.abs(places - np.array(ends)).max())
    if off > OFF_GRID or not 0 <= number < slices:
        raise UnusableFileError(
            "mask-other-grid",
            f"a frame of {header.Rows}x{header.Columns} lies up to {off:.2g} voxels from slice "
            f"{number} of {slices} ({rows}x{columns}), limit {OFF_GRID:g}",
        )
    named = [str(item.ReferencedSOPInstanceUID) for item in header.get("SourceImageSequence", [])]
    if named and not set(named) & set(volume.uids):
        raise UnusableFileError("mask-other-series", "a frame names an image of another series")
    if named and volume.uids[number] not in named:
        raise UnusableFileError("mask-other-slice", f"a frame on slice {number} names another")
    return number


def _corners_mm(header: Dataset) -> NDArray[np.float64]:
    """Return the centres of a frame's corner pixels in LPS, (4, 3)."""
    turn = np.array([float(v) for v in header.ImageOrientationPatient])
    down_mm, right_mm = (float(mm) for mm in header.PixelSpacing)
    origin = np.array([float(v) for v in header.ImagePositionPatient])
    down = turn[3:] * down_mm * (int(header.Rows) - 1)
    right = turn[:3] * right_mm * (int(header.Columns) - 1)
    return np.array([origin, origin + right, origin + down, origin + down + right])


def _give_radiographs_a_thickness(instance: Dataset) -> None:
    # highdicom 0.28 writes pixel measures without SliceThickness for a source image that has
    # none, and then refuses to read them. The value is used for nothing here.
    shared = list(instance.get("SharedFunctionalGroupsSequence") or [])
    for groups in shared + list(instance.get("PerFrameFunctionalGroupsSequence") or []):
        for measures in groups.get("PixelMeasuresSequence") or []:
            if "SliceThickness" not in measures:
                measures.SliceThickness = 1.0


def _wanted(instance: Dataset, classes: Mapping[str, int]) -> list[int]:
    """Return the numbers of the segments that count; any if the task names no labels."""
    segments: Any = instance.SegmentSequence
    return [
        int(item.SegmentNumber)
        for item in segments
        if not classes or classes.get(str(item.SegmentLabel)) == 1
    ]
