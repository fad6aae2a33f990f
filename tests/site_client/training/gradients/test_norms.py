"""No norm comes out too small, whatever the size of the numbers behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from site_client.training.gradients.clipped import ROUNDING, clip_factors
from site_client.training.gradients.correlation import RELATIVE_ROUNDING, Geometry, squared_norms
from site_client.training.gradients.grouping import Block, Grouping
from site_client.training.gradients.shares import Kept

LINEAR = Geometry((6, 5), (1,), (0,), (1,), 1)


def block(rows: int) -> Block:
    return next(Grouping((1,) * rows).blocks)


def true_norm(given: torch.Tensor, back: torch.Tensor) -> float:
    product = torch.einsum("bot,bit->boi", back.double(), given.double())
    return float(torch.linalg.vector_norm(product))


@settings(max_examples=60, deadline=None)
@given(st.floats(-37, 17), st.floats(-37, 17), st.integers(1, 4), st.integers(0, 9))
def test_a_norm_from_gram_matrices_holds_at_every_scale(
    given_size: float, back_size: float, places: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    given = torch.from_numpy(10**given_size * rng.standard_normal((1, 5, places))).float()
    back = torch.from_numpy(10**back_size * rng.standard_normal((1, 6, places))).float()
    found, true = float(squared_norms(LINEAR, given, back, block(1)).sqrt()), true_norm(given, back)
    assert true * (1 - 1e-6) <= found <= true * 1.01 + 1e-300


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-36, 17), min_size=4, max_size=4))
def test_one_row_of_large_numbers_does_not_hide_another_of_small_ones(sizes: list[float]) -> None:
    rng = np.random.default_rng(1)
    scale = torch.tensor([10.0**size for size in sizes]).reshape(4, 1, 1)
    given = scale * torch.from_numpy(rng.standard_normal((4, 5, 2))).float()
    back = scale.flip(0) * torch.from_numpy(rng.standard_normal((4, 6, 2))).float()
    found = squared_norms(LINEAR, given, back, block(4)).sqrt()
    for row in range(4):
        assert float(found[row]) >= true_norm(given[row : row + 1], back[row : row + 1]) * (
            1 - 1e-6
        )


def test_a_sum_that_cancels_does_not_pass_as_a_norm_of_zero() -> None:
    """Two places whose parts are opposite: in float32 their Gram sum is 0 or rounding."""
    given = torch.tensor([[[1.0, 1.0]]])
    back = torch.tensor([[[1.0, -1.0]]])
    geometry = Geometry((1, 1), (1,), (0,), (1,), 1)
    assert float(squared_norms(geometry, given, back, block(1))) >= RELATIVE_ROUNDING * 4


@pytest.mark.parametrize("size", [1e19, 1e38, float("inf"), float("nan")])
def test_a_signal_that_cannot_be_scaled_exactly_counts_as_infinite(size: float) -> None:
    given, back = torch.ones(1, 5, 1), torch.full((1, 6, 1), size)
    share = Kept("w", "kept", torch.zeros(1, 1))
    norms = squared_norms(LINEAR, given, back, block(1))
    assert not torch.isfinite(norms).any()
    assert clip_factors([_Share(norms), share], 1.0).tolist() == [0.0]


class _Share(Kept):
    """A share of which only the norms are known."""

    def __init__(self, squared: torch.Tensor) -> None:
        object.__setattr__(self, "_squared", squared)

    @property
    def squared(self) -> torch.Tensor:
        found: torch.Tensor = object.__getattribute__(self, "_squared")
        return found


@given(st.floats(-40, 60), st.floats(-2, 4))
def test_a_factor_keeps_the_bound_with_room_for_rounding(size: float, bound: float) -> None:
    norm, limit = 10.0 ** (size / 2), 10.0**bound
    share = _Share(torch.tensor([norm**2], dtype=torch.float64))
    factor = float(clip_factors([share], limit))
    assert factor * norm <= limit * (1 - 2.0**-16) or (factor == 1 and norm <= limit)
    assert (factor > 0) == (norm <= 1e30 * (1 + 1e-9))
    assert ROUNDING < 1
