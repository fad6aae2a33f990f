"""A cap over contracts holds against an asker who chooses each after seeing results."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrad.privacy.accounting import Event, delta_of, epsilon, epsilon_of, merged
from fedrad.privacy.caps import Cap
from fedrad.privacy.renyi import filtered_epsilon

DELTA = 1e-5
GRID = 1e-3  # of the privacy loss, for the adversary


def step(sigma: float, q: float = 0.1, steps: int = 40) -> Event:
    return Event(mechanism="subsampled-gaussian", sigma=sigma, q=q, steps=steps)


def release(sigma: float, times: int = 1) -> Event:
    return Event(mechanism="gaussian", sigma=sigma, q=1.0, steps=times)


def most(holds: Callable[[int], bool], high: int = 2048) -> int:
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def losses(event: Event, which: str) -> Any:
    """Return the privacy losses of all steps of an event, as a mass function of a grid."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    one = pld.from_gaussian_mechanism(
        event.sigma, sampling_prob=event.q, value_discretization_interval=GRID
    )
    return getattr(one.self_compose(event.steps), which)


def delta_of_switching(
    cap: float, before: Event, go_on: Event, switch: Event, which: str = "_pmf_remove"
) -> float:
    """Return the delta at ``cap`` against the best asker with one choice.

    After ``before`` the loss L is known. The asker then stops, goes on with the first
    contract or switches to the second, whichever makes E[max(0, 1 - exp(cap - loss))]
    largest given L: a hockey-stick divergence of what is left at cap - L.
    """
    mass = losses(before, which).to_dense_pmf()
    probabilities = np.asarray(mass._probs)
    left = cap - (np.arange(len(probabilities)) + mass._lower_loss) * GRID
    stop = np.maximum(0.0, -np.expm1(np.minimum(left, 50.0)))
    choices = [stop]
    for event in (go_on, switch):
        if event.steps:
            tail = losses(event, which).get_delta_for_epsilon(list(left[::-1]))
            choices.append(np.asarray(tail)[::-1])
    return float((probabilities * np.maximum.reduce(choices)).sum() + mass._infinity_mass)


@pytest.mark.parametrize(
    ("limit", "sigma", "q", "other"),
    [
        (4.0, 3.0, 0.5, (0.5, 0.01)),
        pytest.param(4.0, 3.0, 0.5, (0.7, 0.02), marks=pytest.mark.long),
        pytest.param(2.0, 1.0, 0.05, (30.0, 0.5), marks=pytest.mark.long),
    ],
)
def test_an_asker_who_switches_after_results_passes_exact_composition_and_not_the_cap(
    limit: float, sigma: float, q: float, other: tuple[float, float]
) -> None:
    """Composing all that was asked as if it had been fixed beforehand loses over a fifth."""
    whole = most(lambda n: epsilon([step(sigma, q, n)], DELTA) <= limit)
    before, go_on = step(sigma, q, whole // 2), step(sigma, q, whole - whole // 2)

    def switching(allowed: Callable[[list[Event]], bool]) -> float:
        steps = most(lambda n: allowed([before, step(*other, n)]))
        return delta_of_switching(limit, before, go_on, step(*other, steps))

    assert switching(lambda events: epsilon(events, DELTA) <= limit) > 1.2 * DELTA
    for planned in (whole, whole // 2):
        cap = Cap(epsilon=limit, delta=DELTA, first=step(sigma, q, planned))
        assert switching(cap.holds) <= DELTA


def test_one_contract_costs_exactly_what_accounting_says() -> None:
    cap = Cap(epsilon=8.0, delta=DELTA, first=step(1.5, steps=200))
    for steps in (1, 60, 200):
        assert cap.used([step(1.5, steps=steps)]) == epsilon([step(1.5, steps=steps)], DELTA)
        assert not cap.filters([step(1.5, steps=steps)])
    assert cap.used([]) == 0
    assert cap.holds([])


def test_a_second_contract_is_counted_by_the_filter_with_what_the_first_left() -> None:
    first, second = step(1.5, steps=60), step(3.0, q=0.3, steps=20)
    cap = Cap(epsilon=8.0, delta=DELTA, first=first)
    left = DELTA - delta_of(merged([first]), 8.0)
    assert 0.99 * DELTA < cap.filter_delta == left < DELTA
    assert cap.filters([first, second])
    assert cap.used([first, second]) == filtered_epsilon(merged([first, second]), left)


def test_a_first_contract_that_may_use_everything_leaves_nothing_to_a_second() -> None:
    whole = most(lambda n: epsilon([step(1.5, steps=n)], DELTA) <= 2.0)
    used = [step(1.5, steps=1), step(9.0, steps=1)]
    tight = Cap(epsilon=2.0, delta=DELTA, first=step(1.5, steps=whole + 1))
    assert tight.filter_delta == 0
    assert tight.used(used) == math.inf
    assert not tight.holds(used)
    assert Cap(epsilon=2.4, delta=DELTA, first=step(1.5, steps=whole + 1)).holds(used)


def test_more_of_the_first_kind_than_planned_is_counted_by_the_filter() -> None:
    cap = Cap(epsilon=8.0, delta=DELTA, first=step(1.5, steps=60))
    assert cap.filters([step(1.5, steps=61)])
    assert cap.used([step(1.5, steps=61)]) > 1.1 * cap.used([step(1.5, steps=60)])
    unknown = Cap(epsilon=8.0, delta=DELTA)
    assert unknown.used([step(1.5)]) == filtered_epsilon(merged([step(1.5)]), DELTA)


def test_releases_over_everybody_compose_whatever_their_noise() -> None:
    cap = Cap(epsilon=4.0, delta=DELTA, first=release(3.0, times=4))
    mixed = [release(3.0, times=2), release(6.0, times=8)]
    assert not cap.filters(mixed)
    assert cap.used(mixed) == epsilon([release(3.0, times=4)], DELTA)
    assert cap.filters([*mixed, release(50.0)])


def test_a_first_contract_without_noise_leaves_nothing_even_if_no_step_was_taken() -> None:
    cap = Cap(epsilon=8.0, delta=DELTA, first=release(0.1, times=3))
    assert cap.used([release(0.1, times=0), release(3.0)]) == math.inf
    assert cap.holds([release(0.1, times=0)])


def test_what_has_no_noise_holds_under_no_cap() -> None:
    exact = Event(mechanism="exact", sigma=0.0, q=1.0, steps=1)
    for first in (None, exact, step(1.5)):
        cap = Cap(epsilon=1e6, delta=DELTA, first=first)
        assert cap.used([exact]) == math.inf
        assert not cap.holds([step(1.5), exact])


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.5, 9.0), st.integers(1, 60), st.integers(1, 60), st.sampled_from([1.0, 0.2]),
    st.integers(0, 3),
)  # fmt: skip
def test_holding_is_being_within_the_limit(
    limit: float, planned: int, steps: int, q: float, others: int
) -> None:
    cap = Cap(epsilon=limit, delta=DELTA, first=step(2.0, q, planned))
    events = [step(2.0, q, steps), *[step(5.0, 0.4, 2)] * others]
    assert cap.holds(events) == (cap.used(events) <= limit)


def test_a_raised_limit_takes_nothing_back() -> None:
    """The orders do not depend on the limit, so what held before holds after."""
    first, second = step(1.5, steps=60), step(3.0, q=0.3, steps=20)
    limits = (3.0, 4.0, 6.0, 8.0)
    caps = [Cap(epsilon=limit, delta=DELTA, first=first) for limit in limits]
    held = [cap.holds([first, second]) for cap in caps]
    assert held == sorted(held)
    shares = [cap.filter_delta for cap in caps]
    assert shares == sorted(shares)


def test_the_delta_of_an_epsilon_is_the_other_way_round() -> None:
    spent = merged([step(1.5)])
    assert delta_of(spent, epsilon_of(spent, DELTA)) == pytest.approx(DELTA, rel=1e-3)
    assert delta_of((), 1.0) == 0
    assert delta_of(((0.0, 1.0, 1),), 1.0) == 1
