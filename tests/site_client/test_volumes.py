"""A series becomes a volume in patient space or is refused with a reason."""

import random
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from site_client.archive.instances import UnusableFileError
from site_client.volumes import read_volume

VOXELS = np.random.default_rng(0).integers(-500, 500, (6, 10, 12)).astype(np.int16)


def paths(site: Any) -> list[Any]:
    return sorted(site.archive.rglob("*.dcm"))


def test_shuffled_slices_come_back_in_order(site: Any) -> None:
    site.series("P1", VOXELS)
    files = paths(site)
    random.Random(1).shuffle(files)
    volume = read_volume(files)
    assert np.array_equal(volume.voxels, VOXELS.astype(np.float32))
    assert volume.spacing_mm == pytest.approx((2.5, 0.7, 0.7))


def test_each_slice_has_its_own_slope(site: Any) -> None:
    slices = site.series("P1", VOXELS)
    slices[2].RescaleSlope, slices[2].RescaleIntercept = 3, -7
    site.add(slices[2], "P1/2.dcm")
    expected = VOXELS.astype(np.float32)
    expected[2] = expected[2] * 3 - 7
    assert np.array_equal(read_volume(paths(site)).voxels, expected)


def test_a_sagittal_series_comes_out_on_the_same_axes(site: Any) -> None:
    """Stored slice by slice from right to left, rows from head to foot."""
    slices = site.series("P1", VOXELS, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    for number, one in enumerate(slices):
        one.ImagePositionPatient = [2.5 * number, 0, 0]
        site.add(one, f"P1/{number}.dcm")
    volume = read_volume(paths(site))
    assert np.array_equal(volume.voxels, VOXELS.transpose(1, 2, 0)[::-1])
    assert volume.spacing_mm == pytest.approx((0.7, 0.7, 2.5))


def enhanced(slices: list[Any]) -> Any:
    """One legacy converted enhanced CT of the slices."""
    made = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=slices,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    del made["FrameOfReferenceUID"]
    made.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    return made


def test_an_enhanced_object_is_the_volume_of_its_frames(site: Any) -> None:
    """A slope for each frame; checked against highdicom's own volume too."""
    slices = site.series("P1", VOXELS)
    for number, one in enumerate(slices):
        one.RescaleSlope = 1 + number
    shuffled = random.Random(2).sample(slices, len(slices))
    path = site.add(enhanced(shuffled), "enhanced.dcm")
    volume = read_volume([path])
    assert np.array_equal(volume.voxels, VOXELS * np.arange(1, 7, dtype=np.float32)[:, None, None])
    theirs = highdicom.imread(path).get_volume(apply_presentation_lut=False)
    turned = theirs.to_patient_orientation("HPL")
    assert np.array_equal(volume.voxels, turned.array)
    assert volume.frame.affine == pytest.approx(theirs.affine)
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    heights = [
        frames[n - 1].PlanePositionSequence[0].ImagePositionPatient[2] for n in volume.frames
    ]
    assert heights == sorted(heights, reverse=True)


def test_an_enhanced_object_among_others_or_without_a_frame_is_refused(site: Any) -> None:
    slices = site.series("P1", VOXELS)
    path = site.add(enhanced(slices), "enhanced.dcm")
    with pytest.raises(UnusableFileError, match="series-mixed"):
        read_volume([path, site.archive / "P1/0.dcm"])
    gap = site.add(enhanced(slices[:2] + slices[3:]), "gap.dcm")
    with pytest.raises(UnusableFileError, match="slices-missing"):
        read_volume([gap])
    few = enhanced(slices)
    few.PerFrameFunctionalGroupsSequence = few.PerFrameFunctionalGroupsSequence[:-1]
    with pytest.raises(UnusableFileError, match="series-geometry"):
        read_volume([site.add(few, "few.dcm")])
