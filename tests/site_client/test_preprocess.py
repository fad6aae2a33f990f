"""The recipe: proportions kept, intensity by public constants, masks on the same grid."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from site_client.archive.instances import UnusableFileError
from site_client.preprocess import prepare_image, prepare_mask, recipe_key, resized_shape

sides = st.integers(16, 70)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=sides, columns=sides)
def test_image_and_mask_stay_on_one_grid(make_task: Any, rows: int, columns: int) -> None:
    image = np.zeros((rows, columns), np.float32)
    image[rows // 4 : rows // 2, columns // 3 :] = 1
    prepared = prepare_image(image, (), make_task())
    mask = prepare_mask(image.astype(np.uint8), (), make_task())
    assert prepared.shape == mask.shape == (1, 16, 16)
    assert np.array_equal(mask, prepared >= 0.5)


def test_an_image_is_fitted_with_its_proportions_and_padded(make_task: Any) -> None:
    prepared = prepare_image(np.ones((32, 16), np.float32), (), make_task())
    assert prepared[0, :, 4:12].min() == 1
    assert prepared[0, :, :4].max() == prepared[0, :, 12:].max() == 0


def test_shrinking_averages_and_so_does_not_alias(make_task: Any) -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (64, 32))
    assert np.allclose(prepare_image(stripes, (), make_task()), 0.5)


def test_a_task_with_spacing_resamples_to_it(make_task: Any) -> None:
    task = make_task(data={"spacing_mm": [1.0, 2.0]})
    assert resized_shape((20, 20), (0.5, 1.0), task) == (10, 10)
    with pytest.raises(UnusableFileError, match="spacing-unknown"):
        resized_shape((20, 20), (), task)


def test_zscore_centres_each_image_and_clips_it(make_task: Any) -> None:
    task = make_task(recipe={"intensity": {"kind": "zscore", "constants": "zscore-1"}})
    values = np.random.default_rng(0).normal(5, 3, (16, 16)).astype(np.float32)
    values[0, 0] = 1000
    prepared = prepare_image(values, (), task)
    expected = np.clip((values - values.mean()) / values.std(), -4, 4)
    assert np.allclose(prepared[0], expected, atol=1e-4)


def test_a_ct_window_maps_its_limits_to_zero_and_one(make_task: Any) -> None:
    volume = np.full((16, 16, 16), -600, np.float32)
    volume[0], volume[-1] = -3000, 3000
    task = make_task(
        data={"dimensions": 3, "modality": "CT"},
        recipe={
            "size": [16, 16, 16],
            "intensity": {"kind": "window", "constants": "ct-lung-1"},
        },
    )
    prepared = prepare_image(volume, (), task)[0]
    assert (prepared[0].max(), prepared[8, 0, 0], prepared[-1].min()) == (0.0, 0.5, 1.0)


def test_constants_of_another_kind_are_refused(make_task: Any) -> None:
    task = make_task(recipe={"intensity": {"kind": "zscore", "constants": "dx-unit-1"}})
    with pytest.raises(SettingsError, match="'zscore' needs 'clip'"):
        prepare_image(np.zeros((16, 16), np.float32), (), task)


def test_a_value_that_is_not_finite_is_refused(make_task: Any) -> None:
    with pytest.raises(UnusableFileError, match="not-finite"):
        prepare_image(np.full((16, 16), np.nan, np.float32), (), make_task())


def test_the_key_follows_the_recipe_but_not_its_augmentation(make_task: Any) -> None:
    plain = recipe_key(make_task())
    assert recipe_key(make_task(recipe={"augment": ["flip"]})) == plain
    assert recipe_key(make_task(recipe={"size": [16, 24]})) != plain
    assert recipe_key(make_task(data={"spacing_mm": [1.0, 1.0]})) != plain
