"""Poisson sampling of patients."""

from __future__ import annotations

import numpy as np
import pytest

from fedrad.errors import PrivacyError
from site_client.training.sampling import poisson_sample


def test_every_patient_is_drawn_on_its_own_with_the_same_chance() -> None:
    rng = np.random.default_rng(1)
    drawn = np.zeros((4000, 20))
    for row in drawn:
        row[poisson_sample(20, 0.3, rng)] = 1
    assert abs(drawn.mean(0) - 0.3).max() < 4.5 * np.sqrt(0.21 / 4000)
    sizes = drawn.sum(1)
    assert sizes.var() == pytest.approx(20 * 0.21, rel=0.15)  # a fixed batch size would have 0
    off_diagonal = np.corrcoef(drawn.T)[~np.eye(20, dtype=bool)]
    assert abs(off_diagonal).max() < 5 / np.sqrt(4000)


def test_each_patient_may_have_its_own_chance() -> None:
    rng = np.random.default_rng(2)
    rates = np.array([1.0, 0.1, 1.0])
    draws = [poisson_sample(3, rates, rng).tolist() for _ in range(500)]
    assert all(0 in draw and 2 in draw for draw in draws)
    assert 20 < sum(1 in draw for draw in draws) < 90


def test_a_rate_of_one_draws_everybody_and_nobody_is_drawn_from_nobody() -> None:
    rng = np.random.default_rng(3)
    assert poisson_sample(4, 1.0, rng).tolist() == [0, 1, 2, 3]
    assert poisson_sample(0, 0.5, rng).tolist() == []


@pytest.mark.parametrize("q", [0.0, -0.1, 1.1, float("nan")])
def test_a_rate_outside_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(PrivacyError, match=r"sampling rate must lie in \(0, 1\]"):
        poisson_sample(3, q, np.random.default_rng(0))
