"""The bound of one run holds where epsilon is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_run import CONFIDENCE, ceiling, guess, lower_bound, p_value
from scipy.stats import binom


def truth_told(epsilon: float) -> float:
    """How often randomised response answers truly."""
    return 1 / (1 + math.exp(-epsilon))


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0])
def test_under_randomised_response_the_probability_is_exact(epsilon: float) -> None:
    """Every canary's coin is answered truly with the chance that epsilon allows: v is binomial."""
    for right in (40, 60, 90, 100):
        exact = binom.sf(right - 1, 100, truth_told(epsilon))
        found = p_value(epsilon, 0.0, canaries=100, guesses=100, right=right)
        assert found == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("epsilon", "canaries"), [(0.5, 400), (2.0, 1000)])
def test_the_bound_on_randomised_response_is_right_as_often_as_it_says(
    epsilon: float, canaries: int
) -> None:
    """And near epsilon: what a run can show is not lost."""
    rng = np.random.default_rng(1)
    right = rng.binomial(canaries, truth_told(epsilon), 400)
    of = {
        v: lower_bound(0.0, canaries=canaries, guesses=canaries, right=v)
        for v in set(right.tolist())
    }
    bounds = np.array([of[v] for v in right.tolist()])
    wrong = (bounds > epsilon).sum()
    assert wrong <= binom.isf(1e-3, 400, 1 - CONFIDENCE)
    assert wrong > 0
    assert 0.6 * epsilon < np.median(bounds) < epsilon


@given(st.floats(0.0, 3.0), st.sampled_from([1e-4, 1e-3, 1e-2]), st.integers(0, 60))
def test_a_mechanism_that_tells_everything_once_in_a_while_is_covered(
    epsilon: float, delta: float, right: int
) -> None:
    """Randomised response that with chance delta publishes every coin is (epsilon, delta)."""
    often = delta * (right <= 60) + (1 - delta) * binom.sf(right - 1, 60, truth_told(epsilon))
    assert often <= p_value(epsilon, delta, canaries=60, guesses=60, right=right) + 1e-12


@given(st.integers(0, 50), st.floats(0, 4), st.floats(0, 0.01))
def test_more_right_guesses_are_less_likely_and_more_privacy_makes_them_so(
    right: int, epsilon: float, delta: float
) -> None:
    given_50 = {"canaries": 80, "guesses": 50}
    found = p_value(epsilon, delta, right=right, **given_50)
    assert 0 <= found <= 1
    assert p_value(epsilon, 0.0, right=right, **given_50) <= found
    assert p_value(epsilon + 0.5, 0.0, right=right, **given_50) >= p_value(
        epsilon, 0.0, right=right, **given_50
    )
    if right:
        assert p_value(epsilon, 0.0, right=right - 1, **given_50) >= p_value(
            epsilon, 0.0, right=right, **given_50
        )


def test_guesses_no_better_than_a_coin_show_nothing() -> None:
    assert lower_bound(1e-5, canaries=2000, guesses=1000, right=500) == 0.0


@pytest.mark.parametrize("canaries", [100, 1000, 5000])
def test_no_run_can_show_more_than_the_ceiling(canaries: int) -> None:
    chance = (1 - CONFIDENCE) ** (1 / canaries)
    assert ceiling(0.0, canaries=canaries) == pytest.approx(math.log(chance / (1 - chance)), 1e-3)
    assert ceiling(1e-5, canaries=canaries) < ceiling(0.0, canaries=canaries)


def test_guesses_follow_the_scores_and_are_judged_by_the_coins() -> None:
    took_part = np.array([True, True, False, False, True])
    scores = np.array([5.0, 4.0, -3.0, 2.0, 0.0])
    assert guess(scores, took_part, 2) == (2, 2)
    assert guess(scores, took_part, 5) == (4, 3)
    assert guess(-scores, took_part, 2) == (2, 0)
