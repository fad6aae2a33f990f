"""Epsilons checked against another accountant, a closed formula and each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedrad.errors import PrivacyError, SettingsError
from fedrad.privacy.accounting import (
    Event,
    attack_within,
    best_attack,
    epsilon,
    plan_sigma,
    site_epsilon,
)

DELTA = 1e-5


def step(sigma: float, q: float = 0.1, steps: int = 40) -> Event:
    return Event(mechanism="subsampled-gaussian", sigma=sigma, q=q, steps=steps)


def release(sigma: float, times: int = 1) -> Event:
    return Event(mechanism="gaussian", sigma=sigma, q=1.0, steps=times)


def gaussian_delta(sigma: float, epsilon_: float) -> float:
    """Balle and Wang, ICML 2018, theorem 8."""
    a, b = 1 / (2 * sigma), epsilon_ * sigma
    return float(norm.cdf(a - b) - math.exp(epsilon_) * norm.cdf(-a - b))


@pytest.mark.parametrize(
    ("sigma", "q", "steps"),
    [(4.0, 0.1, 30), (2.5, 0.1, 40), (4.0, 0.25, 30), (1.5, 0.2, 60), (0.75, 0.1, 60)],
)
def test_epsilon_agrees_with_opacus_within_one_percent(sigma: float, q: float, steps: int) -> None:
    """Opacus composes with another method (PRV) and another discretisation."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(sigma, q, steps)]
    theirs = accountant.get_epsilon(DELTA, eps_error=0.001)
    assert 0.4 < theirs < 12
    assert epsilon([step(sigma, q, steps)], DELTA) == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 20.0, 200.0])
def test_epsilon_of_a_release_is_that_of_the_closed_formula(sigma: float) -> None:
    found = epsilon([release(sigma)], DELTA)
    assert gaussian_delta(sigma, found) <= DELTA
    assert gaussian_delta(sigma, 0.99 * found - 1e-4) > DELTA


def test_releases_compose_to_one_gaussian_with_less_noise() -> None:
    assert epsilon([release(4.0, times=16)], DELTA) == epsilon([release(1.0)], DELTA)
    assert epsilon([release(1.0), release(1.0)], DELTA) == epsilon([release(2**-0.5)], DELTA)


def test_steps_over_everybody_cost_the_same_as_releases() -> None:
    assert epsilon([step(2.0, q=1.0, steps=4)], DELTA) == epsilon([release(2.0, times=4)], DELTA)


def test_the_noise_multiplier_is_what_counts_not_the_unit() -> None:
    in_units = Event(mechanism="gaussian", sigma=6.0, q=1.0, steps=1, sensitivity=3.0)
    assert epsilon([in_units], DELTA) == epsilon([release(2.0)], DELTA)


def test_an_exact_event_or_almost_no_noise_has_no_finite_epsilon() -> None:
    exact = Event(mechanism="exact", sigma=0.0, q=1.0, steps=1)
    assert epsilon([step(1.0), exact], DELTA) == math.inf
    assert epsilon([release(0.1)], DELTA) == math.inf
    assert best_attack([exact]) == 1.0


def test_nothing_spent_costs_nothing() -> None:
    assert epsilon([], DELTA) == 0
    assert epsilon([step(1.0, steps=0)], DELTA) == 0
    assert best_attack([], false_alarm=0.01) == 0.01


@settings(max_examples=6, deadline=None)
@given(st.floats(1.0, 4.9), st.floats(0.02, 0.9), st.integers(1, 40), st.sampled_from([1e-6, 1e-4]))
def test_less_noise_more_steps_and_more_patients_cost_more(
    sigma: float, q: float, steps: int, delta: float
) -> None:
    cost = epsilon([step(sigma, q, steps)], delta)
    assert epsilon([step(sigma * 1.2, q, steps)], delta) <= cost
    assert epsilon([step(sigma, q, steps + 5)], delta) >= cost
    assert epsilon([step(sigma, min(1.0, q * 1.1), steps)], delta) >= cost * (1 - 1e-3)
    assert epsilon([step(sigma, q, steps)], delta * 10) <= cost


@settings(max_examples=10, deadline=None)
@given(st.permutations([step(1.0, steps=3), step(1.0, steps=7), step(2.0), release(5.0)]))
def test_the_order_and_the_grouping_of_events_do_not_matter(events: list[Event]) -> None:
    grouped = [step(1.0, steps=10), step(2.0), release(5.0)]
    assert epsilon(events, DELTA) == epsilon(grouped, DELTA)


@pytest.mark.parametrize(
    ("target", "q", "steps"), [(8.0, 0.1, 150), (1.0, 0.05, 400), (3.0, 1.0, 4)]
)
def test_planned_noise_is_the_smallest_of_three_digits(target: float, q: float, steps: int) -> None:
    sigma = plan_sigma(epsilon=target, delta=DELTA, q=q, steps=steps)
    less = sigma - 10.0 ** (math.floor(math.log10(sigma)) - 2)
    assert float(f"{sigma:.3g}") == sigma
    assert epsilon([step(sigma, q, steps)], DELTA) <= target
    assert epsilon([step(less, q, steps)], DELTA) > target


def test_noise_for_an_impossible_target_is_refused() -> None:
    with pytest.raises(PrivacyError, match="over 10000"):
        plan_sigma(epsilon=1e-9, delta=1e-12, q=1.0, steps=100)
    with pytest.raises(PrivacyError, match="no noise can be planned"):
        plan_sigma(epsilon=1.0, delta=DELTA, q=1.5, steps=10)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0])
def test_the_best_attack_on_a_release_is_the_most_powerful_test(sigma: float) -> None:
    """Neyman and Pearson: the power of telling N(1, s²) from N(0, s²) is known."""
    power = norm.cdf(norm.ppf(0.01) + 1 / sigma)
    found = best_attack([release(sigma)], false_alarm=0.01)
    assert power <= found + 1e-9
    assert found == pytest.approx(power, rel=0.01)


def test_sampling_makes_the_attack_worse_and_more_steps_make_it_better() -> None:
    whole, sampled = best_attack([release(1.0)]), best_attack([step(1.0, q=0.1, steps=1)])
    assert 0.01 < sampled < whole
    assert best_attack([step(1.0, q=0.1, steps=50)]) > sampled


@pytest.mark.parametrize("sigma", [0.7, 1.0, 4.0])
def test_one_epsilon_and_delta_bound_the_attack_less_tightly_than_all_of_them(sigma: float) -> None:
    """Kairouz, Oh, Viswanath 2015: the better of joining and leaving, at one point."""
    cost = epsilon([release(sigma)], DELTA)
    bound = attack_within(cost, DELTA, false_alarm=0.01)
    assert best_attack([release(sigma)]) <= bound <= 1
    assert bound <= math.exp(cost) * 0.01 + DELTA + 1e-12
    assert attack_within(0.0, 0.0) == 0.01
    assert attack_within(math.inf, DELTA) == 1.0


def test_a_patient_pays_the_worst_stream_and_what_touches_everybody() -> None:
    streams = {"train": (step(1.0),), "audit": (release(2.0),)}
    assert site_epsilon(streams, DELTA) == epsilon(streams["train"], DELTA)
    everybody = {**streams, "other": (release(1.0),)}
    assert site_epsilon(everybody, DELTA) == epsilon([step(1.0), release(1.0)], DELTA)
    assert site_epsilon({}, DELTA) == 0
    assert site_epsilon({"other": (release(1.0),)}, DELTA) == epsilon([release(1.0)], DELTA)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sigma": math.nan}, "sigma must be 0 or more"),
        ({"q": 0.0}, r"q must lie in \(0, 1\]"),
        ({"steps": -1}, "steps must be 0 or more"),
        ({"sensitivity": 0.0}, "sensitivity must be greater than 0"),
        ({"mechanism": "laplace"}, "'laplace' is not known"),
        ({"mechanism": "gaussian"}, "q must be 1"),
    ],
)
def test_an_event_that_cannot_be_is_refused(change: dict[str, object], text: str) -> None:
    fields = {"mechanism": "subsampled-gaussian", "sigma": 1.0, "q": 0.5, "steps": 1, **change}
    with pytest.raises(SettingsError, match=text):
        Event(**fields)  # type: ignore[arg-type]


def test_a_delta_of_one_is_refused() -> None:
    with pytest.raises(PrivacyError, match="between 0 and 1"):
        epsilon([step(1.0)], 1.0)
