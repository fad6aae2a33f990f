"""The noise of a private step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedrad.errors import PrivacyError
from fedrad.privacy.mechanisms import noise_source
from site_client.training.gradients import GradientSum
from site_client.training.private import ROUNDING_MARGIN, grid_of, noised_mean

KEY = bytes(range(32))


def zeros(*shape: int) -> GradientSum:
    return GradientSum({"a": torch.zeros(shape)}, 0)


def test_the_noise_has_the_promised_deviation_in_every_tensor() -> None:
    sums = GradientSum({"a": torch.zeros(200, 100), "b": torch.zeros(20_000)}, 0)
    noised = noised_mean(sums, noise_source(KEY), std=3.0, divisor=10.0)
    for tensor in noised.values():
        assert tensor.dtype == torch.float32
        assert float(tensor.std()) == pytest.approx(0.3, rel=0.02)
        assert abs(float(tensor.mean())) < 5 * 0.3 / np.sqrt(20_000)
    together = np.corrcoef(noised["a"].flatten().numpy(), noised["b"].numpy())
    assert abs(together[0, 1]) < 0.04


def test_the_sum_is_divided_by_the_public_divisor() -> None:
    summed = GradientSum({"a": torch.full((50,), 80.0)}, 0)
    noised = noised_mean(summed, noise_source(KEY), std=1e-6, divisor=16.0)
    torch.testing.assert_close(noised["a"], torch.full((50,), 5.0), atol=1e-4, rtol=0)


def test_a_key_repeats_the_noise_and_no_key_never_does() -> None:
    keys = (KEY, KEY, None, None)
    first, again, fresh, other = (
        noised_mean(zeros(8), noise_source(key), std=1.0, divisor=1.0)["a"] for key in keys
    )
    assert torch.equal(first, again)
    assert not torch.equal(fresh, other)


def test_a_private_step_without_noise_is_refused() -> None:
    with pytest.raises(PrivacyError, match="deviation above 0"):
        noised_mean(zeros(2), noise_source(), std=0.0, divisor=1.0)


@pytest.mark.parametrize("std", [1e-6, 0.3, 1.0, 1.0 + 1e-12, 700.0])
def test_what_is_released_lies_on_a_public_grid_far_finer_than_the_noise(std: float) -> None:
    """The divisor is 1 and the sums are small, so that float32 holds the multiples exactly."""
    sums = GradientSum({"a": std * torch.randn(5000, generator=torch.Generator())}, 0)
    released = noised_mean(sums, noise_source(), std=std, divisor=1.0)["a"].double().numpy()
    grid = grid_of(std)
    assert std / 2048 < grid <= std / 1024
    assert np.log2(grid) == np.round(np.log2(grid))
    assert np.array_equal(released, np.round(released / grid) * grid)


def test_a_sum_moved_by_less_than_float32_can_tell_leaves_the_same_set_of_values() -> None:
    """Without the grid, small values would show the last bits of what was noised."""
    released = [
        noised_mean(GradientSum({"a": torch.full((200_000,), value)}, 0), noise_source(KEY),
                    std=1.0, divisor=1.0)["a"].numpy()
        for value in (0.1, 0.1 + 1e-7)
    ]  # fmt: skip
    possible = [set(np.unique(values[np.abs(values) < 2])) for values in released]
    assert possible[0] == possible[1]
    assert len(possible[0]) < 5000


def test_no_exact_sum_outlives_its_step() -> None:
    sums = GradientSum({"a": torch.full((3, 2), 7.0), "b": torch.full((4,), 7.0)}, 0)
    noised_mean(sums, noise_source(KEY), std=1.0, divisor=1.0)
    assert not any((tensor == 7.0).any() for tensor in sums.total.values())


def test_the_order_of_memory_does_not_change_which_number_gets_which_noise() -> None:
    values = torch.arange(60.0).reshape(1, 3, 4, 5)
    plain, last = (
        noised_mean(GradientSum({"a": t}, 0), noise_source(KEY), std=1.0, divisor=2.0)["a"]
        for t in (values.clone(), values.clone(memory_format=torch.channels_last))
    )
    assert torch.equal(plain, last)


def test_the_noise_is_larger_than_agreed_by_the_margin_for_rounding() -> None:
    std = float(noised_mean(zeros(4_000_000), noise_source(KEY), std=1.0, divisor=1.0)["a"].std())
    assert 1 < std < 1 + 2 * ROUNDING_MARGIN


def test_every_step_takes_a_key_of_its_own_from_the_source() -> None:
    rng = noise_source(KEY)
    first, second = (noised_mean(zeros(1000), rng, std=1.0, divisor=1.0)["a"] for _ in range(2))
    assert (first == second).float().mean() < 0.01
    assert abs(np.corrcoef(first.numpy(), second.numpy())[0, 1]) < 0.2
