"""Descriptors say what they are named for, and nothing odd makes them fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fedrad.errors import DataError
from fedrad.shift.descriptors import NAMES, describe
from fedrad.shift.moments import (
    CLIP,
    LENGTH,
    covariance,
    moments_of_single,
    patient_moments,
    scales,
)
from simulations.phantoms import radiograph

IMAGE = radiograph(np.random.default_rng(1), size=48, positive=True).image
HERE = dict(zip(NAMES, describe(IMAGE), strict=True))


def of(image: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, describe(image.astype(np.float32)), strict=True))


def test_grey_levels_are_those_of_numpy() -> None:
    assert HERE["mean"] == pytest.approx(float(IMAGE.mean()), abs=1e-6)
    assert HERE["deviation"] == pytest.approx(float(IMAGE.std()), abs=1e-6)
    assert [HERE["p5"], HERE["p95"]] == pytest.approx(list(np.percentile(IMAGE, (5, 95))), abs=1e-6)


def test_gain_moves_levels_and_no_ratio() -> None:
    dim = of(0.5 * IMAGE)
    assert dim["mean"] == pytest.approx(HERE["mean"] / 2, rel=1e-5)
    for name in ("log high share", "log middle to high", "median position"):
        assert dim[name] == pytest.approx(HERE[name], abs=1e-4)
    assert dim["log mean gradient"] == pytest.approx(HERE["log mean gradient"] - np.log10(2))


def test_noise_and_blur_go_opposite_ways() -> None:
    noisy = of(IMAGE + 0.05 * np.random.default_rng(2).standard_normal(IMAGE.shape))
    soft = of(ndimage.gaussian_filter(IMAGE, 0.8))
    for name, way in (
        ("log median laplacian", 1),
        ("log high share", 1),
        ("log middle to high", -1),
    ):
        assert way * noisy[name] > way * HERE[name] > way * soft[name]


def test_a_volume_is_described_by_its_slices() -> None:
    assert describe(np.stack([IMAGE] * 7)) == pytest.approx(describe(IMAGE))


def test_a_flat_image_has_finite_descriptors_and_a_line_has_none() -> None:
    assert np.isfinite(describe(np.zeros((16, 16), np.float32))).all()
    with pytest.raises(DataError, match="an image or a volume"):
        describe(np.zeros(16, np.float32))


@given(st.lists(st.lists(st.floats(width=32), min_size=9, max_size=9), min_size=1, max_size=4))
def test_whatever_a_patient_has_their_moments_are_within_the_clip(
    images: list[list[float]],
) -> None:
    moments = patient_moments(images)
    assert moments.shape == (LENGTH,)
    assert np.linalg.norm(moments) <= CLIP * (1 + 1e-12)


def test_the_mean_over_images_comes_before_the_clip() -> None:
    centre, unit = scales()
    ends = [centre + unit, centre - unit]
    assert patient_moments(ends) == pytest.approx(np.zeros(LENGTH), abs=1e-12)


def test_the_public_covariance_is_one() -> None:
    assert covariance() == pytest.approx(covariance().T)
    assert np.linalg.eigvalsh(covariance()).min() > 0


def test_patients_without_images_are_refused() -> None:
    with pytest.raises(DataError, match="9 descriptors an image"):
        patient_moments([])


def test_many_patients_of_one_image_have_the_moments_of_each() -> None:
    rows = np.random.default_rng(3).normal(scales()[0], 3 * scales()[1], (40, len(NAMES)))
    rows[0, 2], rows[1, 4] = np.nan, np.inf
    each = np.array([patient_moments([row]) for row in rows])
    assert np.allclose(moments_of_single(rows), each, rtol=0, atol=1e-14)
    with pytest.raises(DataError, match="nine|9"):
        moments_of_single(rows[:, :4])
