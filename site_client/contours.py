"""Fill the contours of an RT structure set into the voxels of its series.

A pixel is inside if its centre is, by the even-odd rule over all contours of one region on one
slice: a contour within another is a hole, and so is the inside of a keyhole (PS3.3 C.8.8.6.3).
A contour belongs to the slice in whose plane its points lie; where it also names an image, both
must be the same. Nothing is interpolated between slices. It takes opened data sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import UnusableFileError, foreign_bytes
from site_client.volumes import SeriesVolume

OFF_PLANE = 0.1  # of a slice distance, between a contour's points and the plane of its slice
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

Floats = NDArray[np.float64]


def contour_mask(
    structures: Dataset, volume: SeriesVolume, classes: Mapping[str, int]
) -> NDArray[np.bool_] | None:
    """Return what a structure set draws on a series, or ``None`` if it has no wanted region.

    Args:
        structures: An opened RT Structure Set.
        volume: The series that it was drawn on.
        classes: The task's map from ROIName to class index; regions of class 1 count. Empty:
            every region counts.

    Returns:
        bool (slices, rows, columns), slices in the order of ``volume.uids``.

    Raises:
        UnusableFileError: ``mask-unreadable``, ``mask-other-frame``, ``mask-other-series``,
            ``mask-other-slice``, ``contour-not-closed``, ``contour-off-plane`` or
            ``contour-slices-skipped``.
    """
    with foreign_bytes("mask-unreadable"):
        wanted = list(_wanted(structures, volume, classes))
        if not wanted:
            return None
        drawn = [_region(contours, volume) for contours in wanted]
        return np.asarray(np.any(drawn, axis=0))


def fill_polygon(inside: NDArray[np.uint8], points: Floats) -> None:
    """Turn over every pixel whose centre lies within a polygon.

    Scan lines through the centres of rows: an edge that crosses a row turns over all pixels to
    its right. A centre on a left or upper edge is inside, on a right or lower edge outside, so
    that polygons which share an edge never share a pixel.

    Args:
        inside: 0 or 1, (rows, columns); changed in place.
        points: (n, 2), row and column of the corners, in pixels; centres have whole numbers.
    """
    rows, columns = inside.shape
    crossings = np.zeros((rows, columns + 1), np.uint8)
    for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = np.ceil([min(y0, y1), max(y0, y1)])
        crossed = np.arange(max(first, 0), min(last, rows))
        if len(crossed):
            at = x0 + (crossed - y0) * (x1 - x0) / (y1 - y0)
            column = np.clip(np.ceil(at), 0, columns).astype(int)
            crossings[crossed.astype(int), column] ^= 1
    inside ^= np.bitwise_xor.accumulate(crossings, axis=1)[:, :-1]


def _wanted(
    structures: Dataset, volume: SeriesVolume, classes: Mapping[str, int]
) -> Iterator[Sequence[Dataset]]:
    """Yield the contours of each region that the task wants."""
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence") or []
        for item in structures.get("ROIContourSequence") or []
    }
    for region in structures.StructureSetROISequence:
        if classes and classes.get(str(region.get("ROIName") or "").strip()) != 1:
            continue
        frame = volume.frame.frame_of_reference_uid
        if frame and region.get("ReferencedFrameOfReferenceUID") not in (None, "", frame):
            raise UnusableFileError("mask-other-frame")
        yield contours.get(int(region.ROINumber), [])


def _region(contours: Sequence[Dataset], volume: SeriesVolume) -> NDArray[np.uint8]:
    inside = np.zeros(volume.frame.spatial_shape, np.uint8)
    used = set()
    for contour in contours:
        if contour.ContourGeometricType not in _CLOSED:
            raise UnusableFileError("contour-not-closed")
        places = _places(contour, volume)
        number = _slice_of(places[:, 0], volume)
        _refuse_another_image(contour, number, volume)
        fill_polygon(inside[number], places[:, 1:])
        used.add(number)
    _refuse_skipped(sorted(used))
    return inside


def _places(contour: Dataset, volume: SeriesVolume) -> Floats:
    """Return the corners as indices (n, 3): slice, row, column."""
    points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise UnusableFileError("mask-unreadable", "a corner that is no number")
    return np.asarray(volume.frame.map_reference_to_indices(points), np.float64)


def _slice_of(heights: Floats, volume: SeriesVolume) -> int:
    number = round(float(np.median(heights)))
    off = float(np.abs(heights - number).max())
    if off > OFF_PLANE or not 0 <= number < len(volume.uids):
        raise UnusableFileError(
            "contour-off-plane",
            f"{off:.2f} slice distances from slice {number} of {len(volume.uids)}, "
            f"limit {OFF_PLANE:g}",
        )
    return number


def _refuse_another_image(contour: Dataset, number: int, volume: SeriesVolume) -> None:
    named = [str(item.ReferencedSOPInstanceUID) for item in contour.get("ContourImageSequence", [])]
    if not named or volume.uids[number] in named:
        return
    if not set(named) & set(volume.uids):
        raise UnusableFileError("mask-other-series", "a contour names an image of another series")
    other = volume.uids.index(next(uid for uid in named if uid in volume.uids))
    raise UnusableFileError(
        "mask-other-slice", f"a contour lies on slice {number} and names slice {other}"
    )


def _refuse_skipped(used: list[int]) -> None:
    # Drawn on every n-th slice to be interpolated by somebody: as it stands it is no mask.
    gaps = np.diff(used)
    if len(gaps) >= 2 and gaps.min() >= 2:
        raise UnusableFileError(
            "contour-slices-skipped", f"drawn on every {gaps.min()} slices only"
        )
