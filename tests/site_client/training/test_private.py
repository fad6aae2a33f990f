"""The noise of a private step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedrad.errors import PrivacyError
from fedrad.privacy.mechanisms import noise_source
from site_client.training.gradients import GradientSum
from site_client.training.private import noised_mean

KEY = bytes(range(32))


def test_the_noise_has_the_promised_deviation_in_every_tensor() -> None:
    zeros = GradientSum({"a": torch.zeros(200, 100), "b": torch.zeros(20_000)}, 0)
    noised = noised_mean(zeros, noise_source(KEY), std=3.0, divisor=10.0)
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
    zeros = GradientSum({"a": torch.zeros(8)}, 0)
    keys = (KEY, KEY, None, None)
    first, again, fresh, other = (
        noised_mean(zeros, noise_source(key), std=1.0, divisor=1.0)["a"] for key in keys
    )
    assert torch.equal(first, again)
    assert not torch.equal(fresh, other)


def test_a_private_step_without_noise_is_refused() -> None:
    with pytest.raises(PrivacyError, match="deviation above 0"):
        noised_mean(GradientSum({"a": torch.zeros(2)}, 0), noise_source(), std=0.0, divisor=1.0)
