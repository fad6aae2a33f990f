"""Eleven CT series as archives have them, each with the one volume that is right.

A case writes its files into a folder and knows the truth: values and affine (index to LPS mm).
``verdict`` says of any reader's volume whether it is that truth, whatever its axes are called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SHAPE = (12, 32, 48)  # slices, rows, columns
SPACING_MM = (2.5, 0.7, 0.7)
TILT_DEGREES = 15.0
SAME_VOXEL = 0.02  # of a voxel, at the corners of the volume
ROOT = "1.2.826.0.1.3680043.10.1234"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Truth:
    """Values at the places of an affine."""

    values: Array  # (slices, rows, columns), Hounsfield units
    affine: Array  # (4, 4): index (slice, row, column, 1) to LPS mm


@dataclass(frozen=True)
class Case:
    """One folder of files: what is special, and every volume that would be right."""

    name: str
    write: Callable[[Path], list[Truth]]


def verdict(values: Array, affine: Array, truths: Sequence[Truth]) -> str:
    """Return ``right`` if a volume is one of the truths on any order of axes, else what differs.

    Args:
        values: Three axes, in the order of the affine's columns.
        affine: (4, 4), index to LPS mm.
        truths: What would be right.
    """
    return next(
        (said for truth in truths if (said := _against(values, affine, truth)) == "right"),
        _against(values, affine, truths[0]),
    )


def _against(values: Array, affine: Array, truth: Truth) -> str:
    shape = np.array(truth.values.shape)
    if sorted(values.shape) != sorted(truth.values.shape):
        return f"{'x'.join(map(str, values.shape))} voxels"
    grid = np.linalg.inv(affine) @ truth.affine
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    places = (grid @ np.vstack([corners, np.ones(corners.shape[1])]))[:3]
    turned = np.round(grid[:3, :3])
    if (np.abs(turned).sum(axis=0) != 1).any() or (np.abs(turned).sum(axis=1) != 1).any():
        return "other axes"
    off = np.abs(places - np.round(places)).max()
    index = np.round(grid @ np.vstack([np.indices(shape).reshape(3, -1), np.ones(shape.prod())]))
    index = index[:3].astype(int)
    if off > SAME_VOXEL or (index < 0).any() or (index >= np.array(values.shape)[:, None]).any():
        return f"voxels up to {_farthest_mm(affine, places, values.shape):.1f} mm from their place"
    found = values[tuple(index)].reshape(truth.values.shape)
    worst = float(np.abs(found - truth.values).max())
    return "right" if worst < 0.01 else f"values off by up to {worst:.0f} HU"


def _farthest_mm(affine: Array, places: Array, shape: Sequence[int]) -> float:
    """How far the truth's corners lie from the nearest voxel that the reader gives."""
    nearest = np.clip(np.round(places), 0, np.array(shape)[:, None] - 1)
    return float(np.linalg.norm(affine[:3, :3] @ (places - nearest), axis=0).max())


def _voxels(seed: int = 0) -> Array:
    """No two slices, rows or columns alike, and no symmetry that could hide a flip."""
    rng = np.random.default_rng(seed)
    ramp = sum(np.indices(SHAPE) * np.array([17, 5, 3])[:, None, None, None])
    return (ramp + rng.integers(-200, 200, SHAPE)).astype(np.int16)


def _affine(rows: Array, columns: Array, step: Array, origin: Array) -> Array:
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (
        step,
        rows * SPACING_MM[1],
        columns * SPACING_MM[2],
    )
    affine[:3, 3] = origin
    return affine


def slices_of(
    voxels: Array, *, cosines: Sequence[float], step: Sequence[float], series: int = 1
) -> tuple[list[FileDataset], Truth]:
    """Return the slices of a series, one a file, and its truth.

    Args:
        voxels: (slices, rows, columns), Hounsfield units.
        cosines: ImageOrientationPatient.
        step: mm from one slice to the next, in LPS.
        series: A number for its UID.
    """
    origin = np.array([-16.0, -11.0, 40.0])
    made = [_slice(values, n, series) for n, values in enumerate(voxels)]
    for n, one in enumerate(made):
        one.ImageOrientationPatient = list(cosines)
        one.ImagePositionPatient = [_ds(v) for v in origin + n * np.array(step)]
    along_row, along_column = np.array(cosines[:3]), np.array(cosines[3:])
    truth = Truth(voxels.astype(float), _affine(along_column, along_row, np.array(step), origin))
    return made, truth


def _ds(value: float) -> str:
    return f"{value:.10g}"  # at most 16 characters, as PS3.5 6.2 has it


def _slice(values: Array, number: int, series: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    slope, intercept = 1, -1024
    elements: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"{ROOT}.{series}.{number + 1}",
        "StudyInstanceUID": f"{ROOT}.9", "SeriesInstanceUID": f"{ROOT}.{series}",
        "FrameOfReferenceUID": f"{ROOT}.8", "Modality": "CT", "PatientID": "P1",
        "PatientName": "Phantom", "PatientBirthDate": "", "PatientSex": "O", "StudyDate": "",
        "StudyTime": "", "StudyID": "1", "AccessionNumber": "A1", "SeriesNumber": series,
        "ReferringPhysicianName": "", "PositionReferenceIndicator": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "InstanceNumber": number + 1,
        "Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 1,
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": list(SPACING_MM[1:]),
        "SliceThickness": SPACING_MM[0], "RescaleSlope": slope, "RescaleIntercept": intercept,
        "RescaleType": "HU", "KVP": 120, "AcquisitionNumber": 1, "PatientPosition": "HFS",
    }  # fmt: skip
    for name, value in elements.items():
        setattr(one, name, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        CTImageStorage,
        one.SOPInstanceUID,
    )
    one.PixelData = ((values - intercept) // slope).astype("<i2").tobytes()
    return one


def save(folder: Path, slices: Sequence[Dataset], names: Sequence[str] | None = None) -> None:
    """Write slices as files; their names are ``0000.dcm`` and on unless given."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, one in enumerate(slices):
        name = names[n] if names else f"{n:04d}.dcm"
        one.save_as(folder / name, enforce_file_format=True)


AXIAL, UP = (1.0, 0, 0, 0, 1.0, 0), (0, 0, SPACING_MM[0])


def _axial(seed: int = 0, series: int = 1) -> tuple[list[FileDataset], Truth]:
    return slices_of(_voxels(seed), cosines=AXIAL, step=UP, series=series)


def _shuffled_names(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    order = np.random.default_rng(3).permutation(len(slices))
    save(folder, slices, [f"IM{n:03d}" for n in order])
    return [truth]


def _reversed_numbers(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    for n, one in enumerate(slices):
        one.InstanceNumber = len(slices) - n
    save(folder, slices)
    return [truth]


def _missing(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    save(folder, slices[:4] + slices[5:8] + slices[9:])
    return [truth]


def _tilt(folder: Path) -> list[Truth]:
    lean = math.radians(TILT_DEGREES)
    cosines = (1.0, 0, 0, 0, round(math.cos(lean), 10), round(math.sin(lean), 10))
    slices, truth = slices_of(_voxels(), cosines=cosines, step=UP)
    for one in slices:
        one.GantryDetectorTilt = TILT_DEGREES
    save(folder, slices)
    return [truth]


def _slope_of_each(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    values = truth.values
    for n, one in enumerate(slices):
        slope, intercept = 1 + n % 3, -1024 + 10 * n
        stored = np.round((values[n] - intercept) / slope).astype("<i2")
        one.RescaleSlope, one.RescaleIntercept = slope, intercept
        one.PixelData = stored.tobytes()
        values[n] = stored.astype(float) * slope + intercept
    save(folder, slices)
    return [truth]


def _sagittal(folder: Path) -> list[Truth]:
    slices, truth = slices_of(
        _voxels(), cosines=(0, 1.0, 0, 0, 0, -1.0), step=(SPACING_MM[0], 0, 0)
    )
    save(folder, slices)
    return [truth]


def _monochrome1(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    for one in slices:
        one.PhotometricInterpretation = "MONOCHROME1"
    save(folder, slices)
    return [truth]


def _duplicate(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    again, _ = _axial()
    again[5].SOPInstanceUID = f"{ROOT}.1.99"
    save(folder, [*slices, again[5]])
    return [truth]


def _two_series(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    others, second = _axial(seed=1, series=2)
    save(folder, [*slices, *others])
    return [truth, second]


def _localizer(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    view = _slice(_voxels(2)[0], 90, 1)
    view.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    view.ImageOrientationPatient, view.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [-16, 0, 70]
    save(folder, [*slices, view])
    return [truth]


def _truncated(folder: Path) -> list[Truth]:
    slices, truth = _axial()
    save(folder, slices)
    last = folder / f"{len(slices) - 1:04d}.dcm"
    last.write_bytes(last.read_bytes()[: -SHAPE[1] * SHAPE[2]])
    return [truth]


CASES = (
    Case("shuffled names", _shuffled_names),
    Case("reversed instance numbers", _reversed_numbers),
    Case("two slices missing", _missing),
    Case("gantry tilt of 15 degrees", _tilt),
    Case("a slope for each slice", _slope_of_each),
    Case("sagittal", _sagittal),
    Case("MONOCHROME1", _monochrome1),
    Case("a slice twice", _duplicate),
    Case("two series in the folder", _two_series),
    Case("a localizer in the series", _localizer),
    Case("the last file cut off", _truncated),
)
