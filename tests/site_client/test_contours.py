"""Contours of an RT structure set become exactly the pixels they were drawn around."""

from typing import Any

import numpy as np
import pytest
from drawn import blobs, contour, square, structures
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from site_client.archive.instances import UnusableFileError
from site_client.contours import contour_mask, fill_polygon
from site_client.volumes import SeriesVolume, read_volume

SHAPE = (6, 12, 14)
coordinates = st.tuples(st.floats(-4, 14), st.floats(-4, 16))


@pytest.fixture
def volume(site: Any) -> SeriesVolume:
    site.series("P1", np.zeros(SHAPE, np.int16))
    return read_volume(sorted(site.archive.rglob("*.dcm")))


def filled(points: Any, shape: tuple[int, int] = (10, 12)) -> Any:
    inside = np.zeros(shape, np.uint8)
    fill_polygon(inside, np.array(points, float))
    return inside


@given(st.lists(coordinates, min_size=3, max_size=9))
def test_a_polygon_has_the_pixels_that_scikit_image_gives_it(points: Any) -> None:
    """Also where it crosses itself or leaves the image; edges through centres are left out."""
    corners = np.array(points) + np.array([0.0371, 0.0593])  # no corner or edge on a centre
    centres = np.argwhere(np.ones((10, 12)))
    theirs = points_in_poly(centres, corners).reshape(10, 12)
    differ = np.argwhere(filled(corners) != theirs)
    assert all(_on_an_edge(centre, corners) for centre in differ)


def _on_an_edge(centre: Any, corners: Any) -> bool:
    ends = np.roll(corners, -1, axis=0)
    along, to = ends - corners, centre - corners
    cross = along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]
    return bool((np.abs(cross) <= 1e-9 * (1 + np.abs(along).sum(axis=1))).any())


@given(st.integers(0, 9), st.integers(0, 11))
def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out(
    row: int, column: int
) -> None:
    whole = filled([(0, 0), (0, 12), (10, 12), (10, 0)])
    parts = sum(
        filled([(top, left), (top, right), (bottom, right), (bottom, left)])
        for top, bottom in ((0, row), (row, 10))
        for left, right in ((0, column), (column, 12))
    )
    assert whole.all()
    assert np.array_equal(parts, whole)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_come_back_from_the_contours_around_them(volume: SeriesVolume, seed: int) -> None:
    """With holes, islands and single pixels; scikit-image drew the contours."""
    mask = blobs(*SHAPE, seed=seed)
    drawn = structures(volume, {"lesion": mask, "rib": np.ones(SHAPE, np.uint8)})
    assert np.array_equal(contour_mask(drawn, volume, {"lesion": 1, "rib": 0}), mask)
    assert contour_mask(drawn, volume, {"node": 1}) is None
    assert contour_mask(drawn, volume, {}).all()


def test_a_keyhole_is_a_hole_too(volume: SeriesVolume) -> None:
    path = [(0.5, 0.5), (0.5, 8.5), (8.5, 8.5), (8.5, 0.5), (0.5, 0.5),
            (2.5, 2.5), (2.5, 6.5), (6.5, 6.5), (6.5, 2.5), (2.5, 2.5)]  # fmt: skip
    drawn = structures(volume, {"lesion": np.zeros(SHAPE, np.uint8)})
    drawn.ROIContourSequence[0].ContourSequence = [contour(volume, 2, path)]
    expected = np.zeros(SHAPE, bool)
    expected[2, 1:9, 1:9] = True
    expected[2, 3:7, 3:7] = False
    assert np.array_equal(contour_mask(drawn, volume, {}), expected)


def test_a_region_with_no_contour_is_an_empty_truth(volume: SeriesVolume) -> None:
    drawn = structures(volume, {"lesion": np.zeros(SHAPE, np.uint8)})
    found = contour_mask(drawn, volume, {"lesion": 1})
    assert found is not None
    assert not found.any()
    del drawn.ROIContourSequence
    assert contour_mask(drawn, volume, {"lesion": 1}) is not None


def test_contours_of_a_sagittal_series_lie_in_its_planes(site: Any) -> None:
    slices = site.series(
        "P1", np.zeros(SHAPE, np.int16), ImageOrientationPatient=[0, 1, 0, 0, 0, -1]
    )
    for number, one in enumerate(slices):
        one.ImagePositionPatient = [2.5 * number, 0, 0]
        site.add(one, f"P1/{number}.dcm")
    volume = read_volume(sorted(site.archive.rglob("*.dcm")))
    drawn = structures(volume, {"lesion": blobs(*SHAPE)})
    assert np.array_equal(contour_mask(drawn, volume, {}), blobs(*SHAPE))
    points = [float(v) for v in drawn.ROIContourSequence[0].ContourSequence[0].ContourData]
    assert len(set(points[::3])) == 1


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"ContourGeometricType": "OPEN_PLANAR"}, "contour-not-closed", ""),
        ({"ContourData": [0, 0, 1, 1, 0, 1, 1, 1, 1]}, "contour-off-plane", "0.40 slice"),
        ({"ContourData": [0, 0, 50, 1, 0, 50, 1, 1, 50]}, "contour-off-plane", "of 6"),
        ({"ContourData": [0, 0, 0, 1, 0, 2.5, 1, 1, 0]}, "contour-off-plane", "1.00 slice"),
        ({"ContourData": [0, 0, "nan", 1, 0, 0, 1, 1, 0]}, "mask-unreadable", "no number"),
        ({"ContourData": [0, 0, 0, 1]}, "mask-unreadable", ""),
    ],
)
def test_a_contour_that_does_not_fit_is_refused_with_its_numbers(
    volume: SeriesVolume, change: dict[str, Any], reason: str, detail: str
) -> None:
    drawn = structures(volume, {"lesion": blobs(*SHAPE)})
    drawn.ROIContourSequence[0].ContourSequence = [contour(volume, 2, square(1, 5), **change)]
    with pytest.raises(UnusableFileError, match=reason) as caught:
        contour_mask(drawn, volume, {})
    assert detail in caught.value.detail


def test_a_contour_must_lie_on_the_image_that_it_names(volume: SeriesVolume) -> None:
    drawn = structures(volume, {"lesion": blobs(*SHAPE)})
    one = contour(volume, 2, square(1, 5))
    drawn.ROIContourSequence[0].ContourSequence = [one]
    one.ContourImageSequence[0].ReferencedSOPInstanceUID = volume.uids[4]
    with pytest.raises(UnusableFileError, match="mask-other-slice") as caught:
        contour_mask(drawn, volume, {})
    assert caught.value.detail == "a contour lies on slice 2 and names slice 4"
    one.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    with pytest.raises(UnusableFileError, match="mask-other-series"):
        contour_mask(drawn, volume, {})
    del one.ContourImageSequence
    assert contour_mask(drawn, volume, {})[2].sum() == 16


def test_a_set_of_another_space_or_drawn_on_every_second_slice_is_refused(
    volume: SeriesVolume,
) -> None:
    drawn = structures(volume, {"lesion": blobs(*SHAPE)})
    drawn.ROIContourSequence[0].ContourSequence = [
        contour(volume, index, square(1, 5)) for index in (0, 2, 4)
    ]
    with pytest.raises(UnusableFileError, match="contour-slices-skipped"):
        contour_mask(drawn, volume, {})
    drawn.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    with pytest.raises(UnusableFileError, match="mask-other-frame"):
        contour_mask(drawn, volume, {})
