"""Masks come back on the grid of the image they were drawn on."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest

from site_client.archive.instances import UnusableFileError
from site_client.masks import read_masks, series_mask
from site_client.volumes import read_volume, turn


def drawn(*shape: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[..., 3:7, 5:9] = 1
    return mask


def test_a_radiographs_mask_is_found_by_its_instance(site: Any) -> None:
    image, other = site.image("P1", "x.dcm"), site.image("P1", "y.dcm")
    site.mask([image], drawn(1, 16, 16), "seg.dcm")
    found = read_masks([site.archive / "seg.dcm"], [image.SOPInstanceUID], {"lesion": 1})
    assert np.array_equal(found, drawn(1, 16, 16))
    nothing = read_masks([site.archive / "seg.dcm"], [other.SOPInstanceUID], {"lesion": 1})
    assert not nothing.any()


def test_an_empty_mask_is_a_legal_truth(site: Any) -> None:
    image = site.image("P1", "x.dcm")
    site.mask([image], np.zeros((1, 16, 16), np.uint8), "seg.dcm")
    found = read_masks([site.archive / "seg.dcm"], [image.SOPInstanceUID], {})
    assert found.shape == (1, 16, 16)
    assert not found.any()


def test_objects_of_one_image_are_joined_and_other_classes_do_not_count(site: Any) -> None:
    image = site.image("P1", "x.dcm")
    site.mask([image], drawn(1, 16, 16), "a.dcm")
    site.mask([image], drawn(1, 16, 16)[:, ::-1].copy(), "b.dcm")
    site.mask([image], np.ones((1, 16, 16), np.uint8), "c.dcm", "rib")
    files = [site.archive / name for name in ("a.dcm", "b.dcm", "c.dcm")]
    found = read_masks(files, [image.SOPInstanceUID], {"lesion": 1, "rib": 0})
    assert np.array_equal(found, drawn(1, 16, 16) | drawn(1, 16, 16)[:, ::-1])
    with pytest.raises(UnusableFileError, match="mask-other-class"):
        read_masks(files[2:], [image.SOPInstanceUID], {"lesion": 1})


def test_a_volumes_mask_lies_on_its_voxels(site: Any) -> None:
    """Bright voxels are masked ones, also where frames without truth are left out."""
    mask = drawn(6, 16, 16)
    mask[:2] = 0
    slices = site.series("P1", (mask * 100).astype(np.int16))
    site.mask(slices, mask, "seg.dcm")
    volume = read_volume(sorted((site.archive / "P1").iterdir(), reverse=True))
    found = turn(read_masks([site.archive / "seg.dcm"], volume.uids, {}), volume)
    assert np.array_equal(found * 100, volume.voxels)


def test_a_file_that_is_no_segmentation_is_refused(site: Any) -> None:
    image = site.image("P1", "x.dcm")
    with pytest.raises(UnusableFileError, match="mask-unreadable"):
        read_masks([site.archive / "x.dcm"], [image.SOPInstanceUID], {})


@pytest.fixture
def series(site: Any) -> Any:
    """A CT series of six slices, its volume and a segmentation of it."""
    slices = site.series("P1", np.zeros((6, 16, 16), np.int16))
    volume = read_volume(sorted((site.archive / "P1").iterdir(), reverse=True))
    mask = drawn(6, 16, 16)
    mask[0], mask[3] = 0, 0
    site.mask(slices, mask, "seg.dcm")
    return SimpleNamespace(
        mask=mask[::-1], volume=volume, file=pydicom.dcmread(site.archive / "seg.dcm")
    )


def test_frames_on_a_series_are_found_by_where_they_lie(series: Any) -> None:
    assert np.array_equal(series_mask(series.file, series.volume, {"lesion": 1}), series.mask)
    for frame in series.file.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    assert np.array_equal(series_mask(series.file, series.volume, {}), series.mask)
    assert series_mask(series.file, series.volume, {"rib": 1}) is None


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ([0, 0, 5.5], "mask-other-grid"),  # between two slices
        ([0.5, 0, 5.0], "mask-other-grid"),
        ([0, 0, 50.0], "mask-other-grid"),
        ([0, 0, 7.5], "mask-other-slice"),  # on the neighbour of the slice that it names
    ],
)
def test_a_frame_that_does_not_lie_on_its_slice_is_refused(
    series: Any, position: list[float], reason: str
) -> None:
    frames = series.file.PerFrameFunctionalGroupsSequence
    planes = [frame.PlanePositionSequence[0] for frame in frames]
    plane = next(one for one in planes if one.ImagePositionPatient == [0, 0, 5.0])
    plane.ImagePositionPatient = position
    with pytest.raises(UnusableFileError, match=reason):
        series_mask(series.file, series.volume, {})


def test_a_segmentation_turned_round_or_of_another_space_is_refused(series: Any) -> None:
    """Same size, same slices: only the corners tell."""
    shared = series.file.SharedFunctionalGroupsSequence[0]
    for turned in ([0, 1, 0, 1, 0, 0], [-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1]):
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = turned
        with pytest.raises(UnusableFileError, match="mask-other-grid"):
            series_mask(series.file, series.volume, {})
    series.file.FrameOfReferenceUID = "1.2.3"
    with pytest.raises(UnusableFileError, match="mask-other-frame"):
        series_mask(series.file, series.volume, {})
