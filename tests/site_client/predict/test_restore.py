"""An answer comes back to the place in the image that it is about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_study import tiny_task

from site_client.predict.restore import restored
from site_client.preprocess import prepare_image

EDGES = st.integers(12, 90)


@given(EDGES, EDGES, st.integers(0, 1))
@settings(max_examples=40)
def test_a_ramp_comes_back_where_it_was(rows: int, columns: int, axis: int) -> None:
    """Through the recipe and back: every place within the blur of one network pixel."""
    task = tiny_task()
    shape = (rows, columns)
    ramp = np.linspace(0, 1, shape[axis], dtype=np.float32)
    image = np.broadcast_to(np.expand_dims(ramp, 1 - axis), shape)
    back = restored(prepare_image(image, (), task)[0], shape, (), task)
    assert back.shape == shape
    pixels = max(shape) / 32  # of the image in one of the network
    assert np.abs(back - image).max() <= (1 + pixels) / (shape[axis] - 1)


def test_what_was_cropped_away_is_nothing() -> None:
    task = tiny_task("data.spacing_mm=[1.0, 1.0]")
    back = restored(np.ones((32, 32), np.float32), (64, 20), (1.0, 1.0), task)
    assert back[16:48].min() == 1
    assert back[:16].max() == 0
    assert back[48:].max() == 0


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (2.0, 1.0)])
def test_spacing_is_undone(spacing: tuple[float, float]) -> None:
    task = tiny_task("data.spacing_mm=[1.0, 1.0]")
    image = np.zeros((24, 28), np.float32)
    image[8:16, 4:20] = 1
    back = restored(prepare_image(image, spacing, task)[0], (24, 28), spacing, task) > 0.5
    assert np.array_equal(back[1:-1, 1:-1], image[1:-1, 1:-1] > 0.5) or (
        np.logical_xor(back, image > 0.5).sum() <= 2 * (8 + 16)
    )
