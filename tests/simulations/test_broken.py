"""Broken files: each is broken as its name says."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from simulations.broken import broken_file
from simulations.dicom import Exam, radiograph_object
from simulations.planted import invent_patient, invent_site, invent_uid
from simulations.scanners import Scanner

EXAM = Exam(
    patient=invent_patient("north", 0, 1),
    site=invent_site("north", 1),
    study_uid=invent_uid(1, "study"),
    series_uid=invent_uid(1, "series"),
    accession="QA0000000001",
    date="20250304",
    comment="none",
)


def spoiled(reason: str) -> bytes:
    stored = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    healthy = radiograph_object(stored, exam=EXAM, scanner=Scanner(), uid=invent_uid(1, "i"))
    return broken_file(reason, healthy, np.random.default_rng(0))


def read(reason: str) -> Dataset:
    return dcmread(BytesIO(spoiled(reason)))


def test_a_truncated_file_has_a_header_and_too_few_pixels() -> None:
    image = read("truncated")
    assert image.PatientID == EXAM.patient.patient_id
    with pytest.raises(ValueError, match="pixel data"):
        image.pixel_array  # noqa: B018  decoding is what fails


@pytest.mark.parametrize("reason", ["not_dicom", "empty"])
def test_a_foreign_file_is_no_dicom(reason: str) -> None:
    with pytest.raises((InvalidDicomError, EOFError)):
        read(reason)


def test_the_other_faults_are_in_the_header() -> None:
    assert "PatientID" not in read("no_patient_id")
    assert read("wrong_modality").Modality == "MR"
    assert "PixelData" not in read("no_pixels")
    assert read("lying_rows").Rows == 60000


def test_a_healthy_file_after_a_broken_one_is_healthy() -> None:
    """Files share what their scanner gives them; a fault must not reach the next file."""
    read("wrong_modality")
    stored = np.zeros((32, 32), np.uint16)
    healthy = radiograph_object(stored, exam=EXAM, scanner=Scanner(), uid=invent_uid(1, "i"))
    assert (healthy.Modality, healthy.Rows) == ("DX", 32)


def test_a_flipped_header_differs_from_the_healthy_one_in_few_places() -> None:
    stored = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    healthy = radiograph_object(stored, exam=EXAM, scanner=Scanner(), uid=invent_uid(1, "i"))
    from pydicom.uid import ExplicitVRLittleEndian

    from simulations.dicom import encoded

    before = np.frombuffer(encoded(healthy, ExplicitVRLittleEndian), np.uint8)
    after = np.frombuffer(spoiled("flipped_header"), np.uint8)
    assert before.size == after.size
    assert 0 < np.count_nonzero(before != after) <= 24
