"""Truth drawn on a series by hand: blobs with holes, as RT structure sets and NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from skimage.measure import find_contours

from site_client.volumes import SeriesVolume

Mask = NDArray[np.uint8]


def blobs(*shape: int, seed: int = 0) -> Mask:
    """A random mask with a hole and two parts, off every edge."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 2:8, 2:9] = 1
    mask[1:4, 4:6, 4:7] = 0  # a hole
    mask[2, 2:4, 10:11] = 1  # another part
    return mask & (rng.random(shape) > 0.1)


def structures(volume: SeriesVolume, regions: dict[str, Mask], **elements: Any) -> FileDataset:
    """An RT structure set whose contours run around the pixels of each mask.

    Args:
        volume: The series.
        regions: Name to mask (slices, rows, columns) in the order of ``volume.uids``.
        elements: Go over the defaults.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    meta.MediaStorageSOPClassUID = file.SOPClassUID
    meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.Modality, file.PatientID, file.StructureSetLabel = "RTSTRUCT", "P1", "drawn"
    file.StructureSetROISequence = [_region(n, name, volume) for n, name in enumerate(regions)]
    file.ROIContourSequence = [
        _contours(n, mask, volume) for n, mask in enumerate(regions.values())
    ]
    for name, value in elements.items():
        setattr(file, name, value)
    return file


def _region(number: int, name: str, volume: SeriesVolume) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, name
    item.ReferencedFrameOfReferenceUID = volume.frame.frame_of_reference_uid
    return item


def _contours(number: int, mask: Mask, volume: SeriesVolume) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = number
    item.ContourSequence = [
        contour(volume, index, path - 1)
        for index, plane in enumerate(mask)
        for path in find_contours(np.pad(plane, 1).astype(float), 0.5)
    ]
    return item


def contour(volume: SeriesVolume, index: int, path: Any, **elements: Any) -> Dataset:
    """One closed contour on slice ``index`` through the points (row, column) of ``path``."""
    places = np.column_stack([np.full(len(path), index), path])
    points = volume.frame.map_indices_to_reference(places)
    item = Dataset()
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(path)
    item.ContourData = [f"{value:.8g}" for value in points.ravel()]
    image = Dataset()
    image.ReferencedSOPInstanceUID = volume.uids[index]
    item.ContourImageSequence = [image]
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def nifti(volume: SeriesVolume, mask: NDArray[Any], axes: str = "RAS") -> nibabel.Nifti1Image:
    """A NIfTI image of a mask (slices, rows, columns), its axes in the order asked for."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.frame.affine
    image = nibabel.Nifti1Image(mask, affine)
    image.header.set_xyzt_units("mm")
    turned = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    return image.as_reoriented(turned)


def square(low: float, high: float) -> Sequence[tuple[float, float]]:
    """The corners of a square."""
    return [(low, low), (low, high), (high, high), (high, low)]
