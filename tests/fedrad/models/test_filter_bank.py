"""The fixed filters and what stands on them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedrad.constants import read_constants
from fedrad.models.filter_bank import (
    FilterBank,
    PixelContext,
    Separable,
    Shrunken,
    gabor_pairs,
    gaussian,
    laplacian_of_gaussian,
)

BANK = read_constants("filter-bank-1")["values"]


def dense(filters: Separable) -> torch.Tensor:
    """Write separable filters out as (F, k, k)."""
    return torch.einsum("frk,frl->fkl", filters.columns.double(), filters.rows.double())


@pytest.mark.parametrize(
    "filters", [gaussian(2.0), laplacian_of_gaussian(3.0), gabor_pairs(4.0, 3)]
)
def test_band_matrices_correlate_like_a_convolution(filters: Separable) -> None:
    images = torch.randn(2, 1, 20, 28, generator=torch.Generator().manual_seed(1))
    kernels = dense(filters).float()[:, None]
    padded = functional.pad(images, (kernels.shape[-1] // 2,) * 4, mode="replicate")
    torch.testing.assert_close(
        filters(images), functional.conv2d(padded, kernels), atol=1e-5, rtol=0
    )


def test_the_laplacian_is_that_of_the_formula() -> None:
    sigma = 3.0
    y, x = torch.meshgrid(*[torch.arange(-9.0, 10.0, dtype=torch.float64)] * 2, indexing="ij")
    r = (x**2 + y**2) / sigma**2
    formula = (2 - r) * torch.exp(-r / 2) / (2 * math.pi * sigma**2)
    kernel = dense(laplacian_of_gaussian(sigma))[0]
    torch.testing.assert_close(kernel, formula, atol=0.02 * float(formula.max()), rtol=0)


def test_a_gabor_pair_is_that_of_the_formula() -> None:
    y, x = torch.meshgrid(*[torch.arange(-12.0, 13.0, dtype=torch.float64)] * 2, indexing="ij")
    bell = torch.exp(-(x**2 + y**2) / 32)
    bell = bell / bell.sum()
    kernels = dense(gabor_pairs(8.0, 4))
    wave = 2 * math.pi * (x + y) / (8 * math.sqrt(2))  # the second of four orientations
    real = bell * torch.cos(wave)
    torch.testing.assert_close(kernels[1], real - real.sum() * bell, atol=1e-7, rtol=0)
    torch.testing.assert_close(kernels[5], bell * torch.sin(wave), atol=1e-7, rtol=0)


def test_filters_other_than_the_blur_answer_nothing_to_an_even_image() -> None:
    even = torch.full((1, 1, 24, 24), 7.0)
    for filters in (laplacian_of_gaussian(2.0), gabor_pairs(4.0, 4)):
        assert filters(even).abs().max() < 1e-4
    torch.testing.assert_close(gaussian(2.0)(even), even)


@given(gain=st.floats(0.2, 5.0), offset=st.floats(-2.0, 2.0))
@settings(max_examples=20, deadline=None)
def test_gain_and_offset_of_a_scanner_change_nothing(gain: float, offset: float) -> None:
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    bank = FilterBank(BANK)
    torch.testing.assert_close(bank(gain * image + offset), bank(image), atol=2e-2, rtol=1e-3)


def test_a_bright_blob_answers_most_at_its_own_scale() -> None:
    y, x = torch.meshgrid(*[torch.arange(64.0)] * 2, indexing="ij")
    blob = torch.exp(-((x - 32) ** 2 + (y - 32) ** 2) / (2 * 2.0**2))[None, None]
    raw = FilterBank({**BANK, "mean": [0.0] * 16, "deviation": [1.0] * 16})(blob)
    peaks = raw[0, :8:2].amax((1, 2))  # the positive signs of the four Laplacians
    assert int(peaks.argmax()) == BANK["log_sigmas_px"].index(2)


def test_the_stem_has_buffers_and_no_parameter() -> None:
    for stem in (Shrunken(FilterBank(BANK), 4), PixelContext(FilterBank(BANK), (32, 32))):
        assert not list(stem.parameters())
        assert list(stem.buffers())


def test_the_pixel_context_holds_image_mirror_and_place() -> None:
    stem = PixelContext(FilterBank(BANK), (16, 24))
    seen = stem(torch.randn(2, 1, 16, 24))
    assert seen.shape == (2, stem.channels, 16, 24) == (2, 27, 16, 24)
    torch.testing.assert_close(seen[:, 17], seen[:, 16].flip(-1))
    torch.testing.assert_close(seen[0, 22, 0], torch.linspace(-1, 1, 24))
    torch.testing.assert_close(seen[1, 23, :, 5], torch.linspace(-1, 1, 16))
