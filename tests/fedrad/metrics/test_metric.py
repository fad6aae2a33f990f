"""Sites summed up: pooled, on average, at the worst, and never a small count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedrad.metrics.metric import (
    Interval,
    Metric,
    macro,
    percentiles,
    pooled,
    proportion,
    share_metric,
    shown_count,
    worst,
)
from fedrad.protocol.messages import Block


def metric(name: str, value: float | None, half: float = 0.1) -> Metric:
    lo, hi = (None, None) if value is None else (value - half, value + half)
    return Metric(name=name, value=value, lo=lo, hi=hi, n=50, method="exact")


def block(name: str, *values: float, sigma: float = 0.0) -> Block:
    return Block(name=name, values=np.array(values), sigma=sigma, sensitivity=1.0)


def test_pooling_adds_sums_and_the_variances_of_their_noise() -> None:
    together = pooled(
        [
            (block("n", 10, sigma=3.0), block("table", 1, 2)),
            (block("n", 30, sigma=4.0), block("table", 5, 5), block("exact", 0.8)),
        ]
    )
    assert [b.name for b in together] == ["n", "table"]
    assert (together[0].values.tolist(), together[0].sigma) == ([40], 5.0)
    assert together[1].values.tolist() == [6, 7]
    assert pooled([]) == ()


def test_macro_is_the_mean_of_the_sites_that_have_a_value() -> None:
    sites = [(metric("auroc", 0.9),), (metric("auroc", 0.7),), (metric("auroc", None),)]
    (found,) = macro(sites)
    assert found.value == pytest.approx(0.8)
    assert (found.lo, found.hi) == pytest.approx((0.8 - 0.1 / 2**0.5, 0.8 + 0.1 / 2**0.5))
    assert macro([(metric("auroc", None),)]) == ()


def test_worst_is_the_lowest_score_and_the_highest_failure_rate() -> None:
    sites = [
        (metric("auroc", 0.9), metric("failure_rate", 0.3), metric("n", 50.0)),
        (metric("auroc", 0.7), metric("failure_rate", 0.2), metric("n", 80.0)),
    ]
    assert {m.name: m.value for m in worst(sites)} == {"auroc": 0.7, "failure_rate": 0.3}


@pytest.mark.parametrize(("value", "text"), [(-3, "<10"), (9.99, "<10"), (10, "10"), (57.6, "58")])
def test_counts_under_ten_are_not_shown(value: float, text: str) -> None:
    assert shown_count(value) == text


@pytest.mark.parametrize(
    "found",
    [Interval(0.5, 0.2, 0.75), Interval(math.nan, 0.4, 0.5), Interval(0.5, math.nan, math.nan)],
)
def test_what_is_too_wide_or_unknown_is_not_claimed(found: Interval) -> None:
    shown = share_metric("auroc", found, n=10, method="private")
    assert (shown.value, shown.lo, shown.hi, shown.estimable) == (None, None, None, False)


def test_shares_are_shown_between_zero_and_one() -> None:
    shown = share_metric("auroc", Interval(1.04, 0.9, 1.1), n=-2, method="private")
    assert (shown.value, shown.lo, shown.hi, shown.n) == (1.0, 0.9, 1.0, 0.0)


def test_noise_widens_the_interval_of_a_proportion() -> None:
    without, with_noise = proportion(30, 50, 0.0), proportion(30, 50, 0.01)
    assert without.value == with_noise.value == 0.6
    assert with_noise.lo < without.lo < without.hi < with_noise.hi
    assert math.isnan(proportion(1, 0, 0.0).value)


def test_draws_that_are_mostly_undefined_give_no_interval() -> None:
    draws = np.append(np.linspace(0, 1, 98), [np.nan, np.nan])
    assert math.isnan(percentiles(0.5, draws).lo)
    assert percentiles(0.5, draws[:98]).lo == pytest.approx(0.025)
