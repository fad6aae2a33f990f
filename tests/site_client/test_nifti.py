"""A NIfTI mask lies on its series voxel by voxel, whatever its axes, or is refused."""

import gzip
import itertools
from typing import Any

import nibabel
import numpy as np
import pytest
from drawn import blobs, nifti

from site_client.archive.instances import UnusableFileError
from site_client.nifti import nifti_mask
from site_client.volumes import SeriesVolume, read_volume

SHAPE = (6, 12, 14)
AXES = [
    "".join(axes)
    for axes in itertools.product("RLAPSI", repeat=3)
    if len({"RLAPSI".index(axis) // 2 for axis in axes}) == 3
]


@pytest.fixture
def volume(site: Any) -> SeriesVolume:
    site.series("P1", np.zeros(SHAPE, np.int16))
    return read_volume(sorted(site.archive.rglob("*.dcm")))


def test_all_48_orders_of_axes_come_out_alike(volume: SeriesVolume) -> None:
    mask = blobs(*SHAPE)
    assert len(AXES) == 48
    for axes in AXES:
        found = nifti_mask(nifti(volume, mask, axes).to_bytes(), volume, {})
        assert np.array_equal(found, mask), axes


def test_both_versions_and_compression_are_read(volume: SeriesVolume) -> None:
    mask = blobs(*SHAPE)
    one = nifti(volume, mask)
    two = nibabel.Nifti2Image(one.dataobj, one.affine)
    for content in (one.to_bytes(), gzip.compress(one.to_bytes()), two.to_bytes()):
        assert np.array_equal(nifti_mask(content, volume, {}), mask)


def test_an_affine_of_the_wrong_handedness_is_named_and_not_guessed(volume: SeriesVolume) -> None:
    """The usual mistake: DICOM's axes written where NIfTI's belong."""
    image = nifti(volume, blobs(*SHAPE))
    wrong = nibabel.Nifti1Image(image.dataobj, np.diag([-1, -1, 1, 1]) @ image.affine)
    with pytest.raises(UnusableFileError, match="mask-other-grid") as caught:
        nifti_mask(wrong.to_bytes(), volume, {})
    assert "it would be, had the affine been written as LPS" in caught.value.detail


@pytest.mark.parametrize("shift_mm", [0.1, 0.3, 2.5])
def test_a_mask_of_another_grid_is_refused_from_a_tenth_of_a_voxel(
    volume: SeriesVolume, shift_mm: float
) -> None:
    """2.5 mm is a slice: the mask would fit, one slice too high."""
    image = nifti(volume, blobs(*SHAPE))
    moved = image.affine.copy()
    moved[2, 3] += shift_mm
    content = nibabel.Nifti1Image(image.dataobj, moved).to_bytes()
    if shift_mm < 0.25:
        assert nifti_mask(content, volume, {}) is not None
        return
    with pytest.raises(UnusableFileError, match="mask-other-grid") as caught:
        nifti_mask(content, volume, {})
    assert "14x12x6 voxels are not the series' 6x12x14" in caught.value.detail


def test_other_spacings_sizes_and_oblique_axes_are_refused(volume: SeriesVolume) -> None:
    image = nifti(volume, blobs(*SHAPE))
    for affine, values in (
        (image.affine @ np.diag([2, 1, 1, 1]), image.dataobj),
        (image.affine, np.asarray(image.dataobj)[:-1]),
        (
            image.affine @ nibabel.affines.from_matvec([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]),
            image.dataobj,
        ),
    ):
        with pytest.raises(UnusableFileError, match="mask-other-grid"):
            nifti_mask(nibabel.Nifti1Image(values, affine).to_bytes(), volume, {})


def test_an_affine_that_is_absent_or_said_twice_is_refused(volume: SeriesVolume) -> None:
    image = nifti(volume, blobs(*SHAPE))
    other = image.affine.copy()
    other[0, 3] += 5
    image.set_qform(other, 1)
    with pytest.raises(UnusableFileError, match="mask-affine-unclear"):
        nifti_mask(image.to_bytes(), volume, {})
    image.set_qform(None, 0)
    image.header.set_xyzt_units("micron")
    with pytest.raises(UnusableFileError, match="mask-affine-unclear"):
        nifti_mask(image.to_bytes(), volume, {})
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    with pytest.raises(UnusableFileError, match="mask-affine-missing"):
        nifti_mask(bytes(content), volume, {})


def test_values_are_classes_by_the_tasks_map(volume: SeriesVolume) -> None:
    mask = blobs(*SHAPE) * 2
    mask[0] = 3
    content = nifti(volume, mask).to_bytes()
    assert np.array_equal(nifti_mask(content, volume, {"2": 1, "3": 0}), mask == 2)
    assert nifti_mask(content, volume, {"7": 1}) is None
    empty = nifti(volume, mask * 0).to_bytes()
    assert not nifti_mask(empty, volume, {"7": 1}).any()
    shares = nifti(volume, mask.astype(np.float32) / 4).to_bytes()
    with pytest.raises(UnusableFileError, match="mask-values"):
        nifti_mask(shares, volume, {})


def test_what_inflates_beyond_the_series_is_refused_before_it_does(volume: SeriesVolume) -> None:
    bomb = gzip.compress(bytes(1 << 26), 1)
    with pytest.raises(UnusableFileError, match="too-large"):
        nifti_mask(bomb, volume, {})


@pytest.mark.parametrize(
    "content", [b"", b"not a nifti", b"\x1f\x8bnot gzip", b"\x5c\x01\0\0" * 99]
)
def test_what_is_no_nifti_is_refused(volume: SeriesVolume, content: bytes) -> None:
    with pytest.raises(UnusableFileError, match="mask-unreadable"):
        nifti_mask(content, volume, {})
