"""Read truth drawn on images: DICOM SEG objects as 0 or 1 on the grid of their image.

Frames are found through the SOPInstanceUID of the image they were drawn on (PS3.3 A.51), so
one function serves radiographs and slices. Several objects that refer to one image are
joined. An image without a frame inside its object has an empty mask, which is a legal
truth: nothing was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import UnusableFileError, foreign_bytes, read_instance


def read_masks(
    paths: Sequence[Path], uids: Sequence[str], classes: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Read what was drawn on the images ``uids``.

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
    found = [mask for path in paths if (mask := _mask(path, uids, classes)) is not None]
    if not found:
        raise UnusableFileError("mask-other-class")
    if len({mask.shape for mask in found}) > 1:
        raise UnusableFileError("mask-other-size")
    return np.asarray(np.any(found, axis=0), np.uint8)


def _mask(path: Path, uids: Sequence[str], classes: Mapping[str, int]) -> NDArray[np.bool_] | None:
    instance = read_instance(path)
    with foreign_bytes("mask-unreadable"):
        _give_radiographs_a_thickness(instance)
        drawn = highdicom.seg.Segmentation.from_dataset(instance, copy=False)
        segments = _wanted(drawn, classes)
        if not segments:
            return None
        inside = drawn.get_pixels_by_source_instance(
            list(uids),
            segment_numbers=segments,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
        return np.asarray(inside.max(axis=-1) >= 0.5)  # fractional objects hold shares


def _give_radiographs_a_thickness(instance: Dataset) -> None:
    # highdicom 0.28 writes pixel measures without SliceThickness for a source image that has
    # none, and then refuses to read them. The value is used for nothing here.
    shared = list(instance.get("SharedFunctionalGroupsSequence") or [])
    for groups in shared + list(instance.get("PerFrameFunctionalGroupsSequence") or []):
        for measures in groups.get("PixelMeasuresSequence") or []:
            if "SliceThickness" not in measures:
                measures.SliceThickness = 1.0


def _wanted(drawn: Any, classes: Mapping[str, int]) -> list[int]:
    if not classes:
        return list(drawn.segment_numbers)
    return [
        number
        for number in drawn.segment_numbers
        if classes.get(str(drawn.get_segment_description(number).segment_label)) == 1
    ]
