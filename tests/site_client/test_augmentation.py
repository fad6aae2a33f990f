"""Augmentation moves image and mask together and repeats itself from its seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from site_client.augmentation import KNOWN, augment, augmenter

seeds = st.integers(0, 2**32 - 1)


def disc(*shape: int) -> np.ndarray:
    """A smooth blob off the centre, 0 at the border."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    distance = sum((axis - 0.2) ** 2 for axis in axes)
    return np.maximum(0, 1 - 4 * distance).astype(np.float32)[None, None]


@settings(deadline=None, max_examples=20)
@given(seeds, st.sampled_from([(32, 32), (16, 24, 24)]))
def test_the_mask_moves_with_the_image(seed: int, shape: tuple[int, ...]) -> None:
    image = disc(*shape)
    mask = (image > 0.5).astype(np.uint8)
    rng = np.random.default_rng(seed)
    moved, truth = augment(image, mask, ("flip", "shift", "rotate"), rng=rng)
    assert truth is not None
    overlap = 2 * (truth * (moved > 0.5)).sum() / (truth.sum() + (moved > 0.5).sum())
    assert overlap > 0.8
    assert (moved.shape, moved.dtype) == (image.shape, np.float32)
    assert set(np.unique(truth)) <= {0, 1}


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_one_seed_gives_one_result(seed: int) -> None:
    images = np.repeat(disc(16, 16), 3, axis=0)
    first, _ = augment(images, None, KNOWN, rng=np.random.default_rng(seed))
    again, _ = augment(images, None, KNOWN, rng=np.random.default_rng(seed))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_a_flip_turns_columns_around_and_nothing_else() -> None:
    image = disc(16, 16)
    results = [augment(image, None, ("flip",), rng=np.random.default_rng(s))[0] for s in range(20)]
    kept = [np.allclose(result, image, atol=1e-5) for result in results]
    flipped = [np.allclose(result, image[..., ::-1], atol=1e-5) for result in results]
    assert any(kept)
    assert any(flipped)
    assert all(k or f for k, f in zip(kept, flipped, strict=True))


def test_intensity_leaves_the_mask_alone() -> None:
    image, mask = disc(16, 16), np.ones((1, 1, 16, 16), np.uint8)
    changed, truth = augment(image, mask, ("intensity",), rng=np.random.default_rng(0))
    assert truth is mask
    assert not np.allclose(changed, image)
    assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] == pytest.approx(1)


def test_a_recipe_without_augmentation_needs_no_function() -> None:
    assert augmenter(()) is None
    with pytest.raises(SettingsError, match="does not know mirror; known: flip"):
        augmenter(("mirror",))
