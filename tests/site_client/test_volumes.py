"""A series becomes a volume in patient space or is refused with a reason."""

import random
from typing import Any

import numpy as np
import pytest

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


def damaged(slices: list[Any], kind: str) -> list[Any]:
    """Return the slices with one fault of geometry."""
    if kind == "missing":
        return slices[:3] + slices[4:]
    if kind == "doubled":
        slices[3].ImagePositionPatient = slices[2].ImagePositionPatient
    if kind == "tilted":
        for number, one in enumerate(slices):
            one.ImagePositionPatient = [0, 0.65 * number, 2.41 * number]
    if kind == "mixed":
        slices[3].PixelSpacing = [0.8, 0.8]
    if kind == "single":
        return slices[:1]
    if kind == "nowhere":
        del slices[3].ImagePositionPatient
    return slices


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "series-geometry"),
        ("doubled", "series-geometry"),
        ("tilted", "series-geometry"),
        ("nowhere", "series-geometry"),
        ("mixed", "series-mixed"),
        ("single", "too-few-slices"),
    ],
)
def test_a_bad_geometry_is_refused_and_never_repaired(site: Any, kind: str, reason: str) -> None:
    slices = damaged(site.series("P1", VOXELS), kind)
    files = [site.add(one, f"damaged/{number}.dcm") for number, one in enumerate(slices)]
    with pytest.raises(UnusableFileError, match=reason):
        read_volume(files)
