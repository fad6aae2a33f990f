"""Phantoms: shape, range, and lesions where they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.phantoms import ct_volume, draw_body, radiograph

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.sampled_from([48, 96, 113]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_radiograph_is_in_range_and_masked_where_it_has_lesions(
    seed: int, size: int, positive: bool
) -> None:
    phantom = radiograph(np.random.default_rng(seed), size=size, positive=positive)
    assert phantom.image.dtype == np.float32
    assert phantom.image.shape == phantom.mask.shape == (size, size)
    assert 0 <= phantom.image.min() <= phantom.image.max() <= 1
    assert bool(phantom.mask.any()) == bool(phantom.lesions) == positive


def test_a_lesion_brightens_its_place_and_nothing_else() -> None:
    body = draw_body(np.random.default_rng(5), positive=True)
    healthy = type(body)(**{n: getattr(body, n) for n in body.__slots__} | {"lesions": ()})
    with_it = radiograph(np.random.default_rng(1), size=128, positive=True, body=body)
    without = radiograph(np.random.default_rng(1), size=128, positive=False, body=healthy)
    change = with_it.image - without.image
    assert change[with_it.mask == 1].mean() > 0.05
    rows, columns = np.mgrid[:128, :128] + 0.5
    far = np.ones((128, 128), bool)
    for lesion in with_it.lesions:
        distance = np.hypot(rows - 128 * lesion.row, columns - 128 * lesion.column)
        far &= distance > 1.3 * 128 * lesion.radius
    assert far.any()
    assert np.abs(change[far]).max() == 0


def test_a_mask_has_the_place_and_radius_of_its_lesion() -> None:
    for seed in range(30):
        phantom = radiograph(np.random.default_rng(seed), size=200, positive=True)
        if len(phantom.lesions) == 1:
            (lesion,) = phantom.lesions
            place = np.argwhere(phantom.mask).mean(axis=0) + 0.5
            assert place == pytest.approx([200 * lesion.row, 200 * lesion.column], abs=1)
            area = np.pi * (200 * lesion.radius) ** 2
            assert phantom.mask.sum() == pytest.approx(area, rel=0.15)


def test_images_of_one_body_share_its_anatomy_but_not_its_noise() -> None:
    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.abs(first - second).mean())

    bodies = [draw_body(np.random.default_rng(n), positive=False) for n in range(12)]
    same = [
        distance(*(radiograph(np.random.default_rng(n), size=96, positive=False, body=b).image
                   for n in (1, 2)))
        for b in bodies
    ]  # fmt: skip
    first = radiograph(np.random.default_rng(1), size=96, positive=False, body=bodies[0]).image
    others = [
        distance(first, radiograph(np.random.default_rng(2), size=96, positive=False, body=b).image)
        for b in bodies[1:]
    ]
    assert 0 < np.mean(same) < np.mean(others)


@given(SEEDS, st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_ct_volume_has_lungs_of_air_and_lesions_of_tissue(seed: int, positive: bool) -> None:
    phantom = ct_volume(np.random.default_rng(seed), positive=positive)
    assert phantom.image.shape == phantom.mask.shape == (24, 64, 64)
    assert phantom.image.dtype == np.float32
    assert phantom.image[0, 0, 0] == -1000  # air around the patient
    lungs = (phantom.image > -950) & (phantom.image < -600)
    assert 0.05 < lungs.mean() < 0.4
    assert bool(phantom.mask.any()) == positive
    if positive:
        assert phantom.image[phantom.mask == 1].mean() > -300


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_lung_mask_covers_what_is_dark_inside_the_body(seed: int) -> None:
    film = radiograph(np.random.default_rng(seed), size=96, positive=False)
    volume = ct_volume(np.random.default_rng(seed), shape=(12, 64, 64), positive=False)
    assert 0.1 < film.lungs.mean() < 0.3
    trunk = film.image[30:60, 20:76]
    inside = film.lungs[30:60, 20:76] == 1
    assert trunk[inside].mean() + 0.2 < trunk[~inside].mean()
    assert np.median(volume.image[volume.lungs == 1]) < -700  # HU of lung
