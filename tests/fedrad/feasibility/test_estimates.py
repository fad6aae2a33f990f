"""Intervals hold what they say: the noise, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.feasibility.estimates import count, share
from fedrad.protocol.messages import Block

DRAWS = 4000


def noised(exact: list[float], sigma: float, rng: np.random.Generator) -> Block:
    values = np.array(exact) + sigma * rng.standard_normal(len(exact))
    return Block(name="patients", values=values, sigma=sigma, sensitivity=1.0)


@pytest.mark.parametrize("exact", [[0, 0, 4], [40, 60, 12], [400, 30, 0]])
def test_counts_are_covered_as_often_as_promised(exact: list[float]) -> None:
    """95 % of 4000 draws, within four standard errors (0.0034 each)."""
    rng = np.random.default_rng(1)
    found = [count(noised(exact, 9.0, rng), (0, 1)) for _ in range(DRAWS)]
    held = np.mean([one.lo <= exact[0] + exact[1] <= one.hi for one in found])
    assert held >= 0.95 - 4 * 0.0034


@pytest.mark.parametrize("exact", [[40, 60], [95, 5], [0, 120], [600, 3]])
def test_shares_are_covered_as_often_as_promised(exact: list[float]) -> None:
    rng = np.random.default_rng(2)
    found = [share(noised(exact, 9.0, rng), (0,), (1,)) for _ in range(DRAWS)]
    true = exact[0] / sum(exact)
    held = np.mean([one is None or one.lo - 1e-12 <= true <= one.hi + 1e-12 for one in found])
    assert np.mean([one is not None for one in found]) > 0.99
    assert held >= 0.95 - 4 * 0.0034


def test_an_interval_that_forgot_half_of_the_noise_would_be_seen() -> None:
    """The test of coverage can fail: noise of twice what the block says."""
    rng = np.random.default_rng(3)
    wrong = [noised([40, 60], 18.0, rng) for _ in range(DRAWS)]
    found = [count(replace(b, sigma=9.0), (0, 1)) for b in wrong]
    assert np.mean([one.lo <= 100 <= one.hi for one in found]) < 0.75


def test_nobody_has_a_share() -> None:
    assert share(noised([0, 0], 5.0, np.random.default_rng(4)), (0,), (1,)) is None


def test_without_noise_a_share_is_what_it_is() -> None:
    found = share(noised([30, 10], 1e-9, np.random.default_rng(5)), (0,), (1,))
    assert found is not None
    assert (found.lo, found.value, found.hi) == pytest.approx((0.75, 0.75, 0.75))


@given(st.lists(st.floats(-500, 5000), min_size=2, max_size=2), st.floats(0.1, 100))
def test_a_share_lies_within_its_interval_and_between_0_and_1(
    values: list[float], sigma: float
) -> None:
    block = Block(name="patients", values=np.array(values), sigma=sigma, sensitivity=1.0)
    found = share(block, (0,), (1,))
    assert found is None or 0 <= found.lo <= found.value + 1e-9 <= found.hi + 2e-9 <= 1 + 2e-9
