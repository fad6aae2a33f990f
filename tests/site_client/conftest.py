"""Small real archives on disk: DICOM files written with pydicom, one site home beside them."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fedrad.task import Task, parse_task
from site_client.home import make_home

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"

SITE_TOML = """
[site]
name = "north"
[archive]
kind = "folder"
path = "../archive"
[labels]
file = "../labels.csv"
[privacy]
epsilon_limit = 8.0
delta_limit = 1e-4
min_patients = 1
max_rounds = 50
max_steps = 100
"""


def instance(pixels: NDArray[Any], patient: str, **elements: Any) -> FileDataset:
    """A single-frame grey image of ``patient``; ``elements`` go over the defaults."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    signed = pixels.dtype.kind == "i"
    defaults: dict[str, Any] = {
        "SOPClassUID": DX, "SOPInstanceUID": generate_uid(), "Modality": "DX",
        "PatientID": patient, "PatientName": "Nobody^Real", "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(), "AccessionNumber": f"A{patient}",
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed),
        "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [1.0, 1.0],
        "ViewPosition": "PA", "StudyDate": "", "StudyTime": "", "StudyID": "",
        "PatientBirthDate": "", "PatientSex": "", "ReferringPhysicianName": "",
    }  # fmt: skip
    for name, value in (defaults | elements).items():
        setattr(file, name, value)
    meta.MediaStorageSOPClassUID = file.SOPClassUID
    meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
    return file


def ct_slices(patient: str, voxels: NDArray[np.int16], **elements: Any) -> list[FileDataset]:
    """One axial series, (slices, rows, columns) of stored values, 2.5 mm apart from z = 0."""
    common = {
        "SOPClassUID": CT, "Modality": "CT", "BitsStored": 16, "HighBit": 15,
        "RescaleSlope": 1, "RescaleIntercept": 0, "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.7, 0.7],
        "SliceThickness": 2.5,
    }  # fmt: skip
    return [
        instance(values, patient, ImagePositionPatient=[0, 0, 2.5 * z], **(common | elements))
        for z, values in enumerate(voxels)
    ]


def segmentation(sources: list[Dataset], mask: NDArray[np.uint8], label: str = "lesion") -> Dataset:
    """A DICOM SEG of ``mask`` (images, rows, columns) drawn on ``sources``."""
    described = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=[described],
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="fedrad",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )


@dataclasses.dataclass(frozen=True)
class SiteFolder:
    """An archive, a table of labels and a home, in one temporary folder."""

    home: Path

    @property
    def archive(self) -> Path:
        """Where the DICOM files are."""
        return self.home.parent / "archive"

    def add(self, file: Dataset, name: str) -> Path:
        """Write one DICOM file into the archive."""
        path = self.archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, enforce_file_format=True)
        return path

    def image(self, patient: str, name: str, value: int = 1000, **elements: Any) -> FileDataset:
        """Write a 16 x 16 image of one stored value, and return it."""
        file = instance(np.full((16, 16), value, np.uint16), patient, **elements)
        self.add(file, name)
        return file

    def series(self, patient: str, voxels: NDArray[np.int16], **elements: Any) -> list[FileDataset]:
        """Write one axial CT series, a file per slice, and return its slices."""
        slices = ct_slices(patient, voxels, **elements)
        for number, one in enumerate(slices):
            self.add(one, f"{patient}/{number}.dcm")
        return slices

    def mask(
        self, sources: list[FileDataset], mask: NDArray[np.uint8], name: str, label: str = "lesion"
    ) -> None:
        """Write a DICOM SEG drawn on ``sources``."""
        self.add(segmentation(sources, mask, label), name)

    def label(self, rows: dict[str, str], key: str = "AccessionNumber") -> None:
        """Write ``labels.csv`` from key values to labels."""
        with (self.home.parent / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([(key, "label"), *rows.items()])

    def reasons(self) -> dict[str, str]:
        """What ``quarantine.csv`` says, by file."""
        with (self.home / "quarantine.csv").open(encoding="utf-8", newline="") as file:
            return {row["file"]: row["reason"] for row in csv.DictReader(file)}

    def settings(self, text: str) -> None:
        """Replace ``site.toml``."""
        make_home(self.home, text)


@pytest.fixture
def site(tmp_path: Path) -> SiteFolder:
    """An empty archive with a home whose secret is fixed."""
    folder = SiteFolder(tmp_path / "home")
    folder.archive.mkdir()
    make_home(folder.home, SITE_TOML, split_key=b"k" * 32)
    return folder


@pytest.fixture
def write_image() -> Callable[..., FileDataset]:
    """Make one image object: pixels, patient, elements."""
    return instance


@pytest.fixture
def write_series() -> Callable[..., list[FileDataset]]:
    """Make one axial CT series: patient, voxels, elements."""
    return ct_slices


@pytest.fixture
def site_toml() -> str:
    """A complete ``site.toml``."""
    return SITE_TOML


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Make a 2D classification task; keyword tables go over the defaults."""

    def make(**changes: dict[str, Any]) -> Task:
        tables: dict[str, Any] = {
            "schema": 1,
            "task": {"name": "demo", "kind": "classification", "classes": ["no", "yes"],
                     "positive": "yes"},
            "data": {"modality": "DX", "dimensions": 2, "min_rows": 16, "min_columns": 16},
            "labels": {"source": "csv", "key": "AccessionNumber", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [16, 16], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
            "model": {"name": "unet"},
            "training": {"steps": 1, "expected_batch_patients": 4},
            "federation": {"rounds": 1},
            "privacy": {"enabled": False},
            "evaluation": {"metrics": ["auroc"], "edges": [0, 0.5, 1]},
            "analysis": {"primary": "auroc"},
        }  # fmt: skip
        for name, table in changes.items():
            tables[name] = {**tables[name], **table}
        return parse_task(tables)

    return make
