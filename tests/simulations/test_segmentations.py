"""DICOM SEG: what was drawn comes back voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread

from simulations.dicom import Exam, write_radiograph, write_series
from simulations.planted import invent_patient, invent_site, invent_uid
from simulations.scanners import Scanner
from simulations.segmentations import write_segmentation

EXAM = Exam(
    patient=invent_patient("north", 0, 1),
    site=invent_site("north", 1),
    study_uid=invent_uid(1, "study"),
    series_uid=invent_uid(1, "series"),
    accession="QA0000000001",
    date="20250304",
    comment="none",
)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_mask_on_a_radiograph_comes_back_pixel_by_pixel(tmp_path: Path, photometric: str) -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((40, 56)) > 0.6).astype(np.uint8)
    stored = rng.integers(0, 4096, mask.shape).astype(np.uint16)
    uid = invent_uid(1, "image")
    scanner = Scanner(photometric=photometric)
    image = write_radiograph(tmp_path / "a", stored, exam=EXAM, scanner=scanner, uid=uid)
    write_segmentation(tmp_path / "s", [image], mask=mask, exam=EXAM, label="lung")
    drawn = segread(tmp_path / "s")
    frames = drawn.get_pixels_by_source_instance([uid], ignore_spatial_locations=True)
    assert np.array_equal(frames[0, :, :, 0], mask)
    assert drawn.get_segment_description(1).segment_label == "lung"
    assert drawn.StudyInstanceUID == EXAM.study_uid


def test_a_mask_on_a_series_comes_back_slice_by_slice_whatever_is_empty(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    mask = (rng.random((9, 16, 20)) > 0.7).astype(np.uint8)
    mask[[0, 4, 8]] = 0
    stored = rng.integers(-500, 500, mask.shape).astype(np.int16)
    uids = [invent_uid(1, "slice", n) for n in range(9)]
    slices = write_series(tmp_path, stored, exam=EXAM, scanner=Scanner(), uids=uids)
    write_segmentation(tmp_path / "s", slices, mask=mask, exam=EXAM, label="lesion")
    frames = segread(tmp_path / "s").get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(frames[..., 0], mask)


def test_an_empty_mask_is_written_and_read_as_nothing_found(tmp_path: Path) -> None:
    stored = np.zeros((32, 32), np.uint16)
    uid = invent_uid(1, "image")
    image = write_radiograph(tmp_path / "a", stored, exam=EXAM, scanner=Scanner(), uid=uid)
    empty = np.zeros((32, 32), np.uint8)
    write_segmentation(tmp_path / "s", [image], mask=empty, exam=EXAM, label="lesion")
    drawn = segread(tmp_path / "s")
    assert drawn.get_pixels_by_source_instance([uid], ignore_spatial_locations=True).sum() == 0
