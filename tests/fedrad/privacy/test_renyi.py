"""The filter's divergences against closed formulas, its epsilon against exact composition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from fedrad.privacy.accounting import epsilon_of
from fedrad.privacy.renyi import ORDERS, divergences, filtered_epsilon

DELTA = 1e-5
KINDS = st.tuples(st.floats(0.5, 20.0), st.floats(0.01, 0.95), st.integers(1, 200))


@pytest.mark.parametrize("sigma", [0.5, 3.0, 40.0])
def test_a_release_over_everybody_has_the_divergence_of_the_gaussian(sigma: float) -> None:
    """Mironov, Rényi Differential Privacy, CSF 2017, proposition 7: a / (2 s²)."""
    expected = 4 * np.asarray(ORDERS) / (2 * sigma**2)
    assert divergences(((sigma, 1.0, 4),)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("sigma", "q"), [(1.0, 0.1), (2.0, 0.5), (0.8, 0.02)])
def test_a_sampled_step_has_the_divergence_that_integration_gives(sigma: float, q: float) -> None:
    """Mironov et al. 2019: of the mixture from the plain Gaussian, the larger direction."""

    def of(order: int) -> float:
        def value(x: float) -> float:
            ratio = 1 - q + q * math.exp((2 * x - 1) / (2 * sigma**2))
            return float(norm.pdf(x, scale=sigma)) * ratio**order

        return math.log(quad(value, -12 * sigma, order + 12 * sigma, limit=500)[0]) / (order - 1)

    found = divergences(((sigma, q, 1),))
    for order, divergence in list(zip(ORDERS, found, strict=True))[:4]:
        assert divergence == pytest.approx(of(order), rel=1e-6)


@settings(max_examples=6, deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=3), st.sampled_from([1e-6, 1e-4, 1e-3]))
def test_the_filter_never_counts_less_than_exact_composition(
    spent: list[tuple[float, float, int]], delta: float
) -> None:
    """No asker has fewer possibilities than one who fixed everything beforehand."""
    kinds = tuple(sorted((sigma, q, min(steps, 40)) for sigma, q, steps in spent))
    assert filtered_epsilon(kinds, delta) >= epsilon_of(kinds, delta) * (1 - 1e-3)


@given(st.lists(KINDS, max_size=4), KINDS)
def test_every_charge_adds_and_every_order_sums(
    spent: list[tuple[float, float, int]], more: tuple[float, float, int]
) -> None:
    before, after = tuple(spent), (*spent, more)
    assert (divergences(after) > divergences(before)).all()
    apart = sum(divergences((kind,)) for kind in after)
    assert divergences(after) == pytest.approx(apart, rel=1e-9)
    assert filtered_epsilon(after, DELTA) >= filtered_epsilon(before, DELTA)


def test_each_order_gets_its_share_of_delta() -> None:
    """By the conversion of the library, at one order and a sixth of delta."""
    from dp_accounting.rdp import compute_epsilon

    spent = ((2.0, 0.3, 50),)
    alone = [
        compute_epsilon([order], [divergence], DELTA / len(ORDERS))[0]
        for order, divergence in zip(ORDERS, divergences(spent), strict=True)
    ]
    assert filtered_epsilon(spent, DELTA) == pytest.approx(min(alone))


def test_what_cannot_be_bounded_costs_infinity_and_nothing_costs_nothing() -> None:
    assert filtered_epsilon((), 0.0) == 0
    assert filtered_epsilon(((1.0, 0.1, 1),), 0.0) == math.inf
    assert filtered_epsilon(((0.0, 1.0, 1),), DELTA) == math.inf
