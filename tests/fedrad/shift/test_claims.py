"""A hospital's claim is held against what all others say; honest ones are left in peace."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from fedrad.metrics.metric import Z
from fedrad.shift.claims import Interval, contradicted, predicted


def claim(value: float, error: float = 0.02) -> Interval:
    return value, value - Z * error, value + Z * error


def test_a_claim_far_above_all_others_is_contradicted() -> None:
    sites = {"a": claim(0.78), "b": claim(0.80), "c": claim(0.81), "d": claim(0.79)}
    assert not list(contradicted({("auroc", "2026-01-01"): sites}))
    lying = sites | {"e": claim(0.999, 0.001)}
    (found,) = contradicted({("auroc", "2026-01-01"): lying})
    assert (found.site, found.metric) == ("e", "auroc")
    assert found.low < 0.8 < found.high < 0.999


def test_honest_hospitals_that_differ_are_seldom_contradicted() -> None:
    rng = np.random.default_rng(3)
    noted = 0
    for _ in range(200):
        true = rng.normal(0.8, 0.03, 6)
        seen = true + rng.normal(0, 0.02, 6)
        sites = {str(k): claim(value) for k, value in enumerate(seen)}
        noted += bool(list(contradicted({("auroc", "w"): sites})))
    assert noted <= 20  # stated: 10 of 200


@pytest.mark.parametrize("sites", [4, 5, 6, 8])
def test_an_auroc_of_a_coin_among_good_ones_is_noted_in_each_of_many_windows(sites: int) -> None:
    """Neither few hospitals nor a long history hides it, and nobody else is noted for it."""
    claims = {}
    for metric in ("auroc", "sensitivity"):
        for window in map(str, range(12)):
            honest = {str(k): claim(0.9 + 0.005 * (k % 3)) for k in range(sites - 1)}
            claims[metric, window] = honest | {"liar": claim(0.4)}
    found = list(contradicted(claims))
    assert {one.site for one in found} == {"liar"}
    assert len(found) == 24


def test_a_window_is_judged_alike_however_many_came_before() -> None:
    sites = {str(k): claim(0.8 + 0.01 * k) for k in range(5)} | {"e": claim(0.999, 0.001)}
    (alone,) = contradicted({("auroc", "w1"): sites})
    among = contradicted({("auroc", f"w{k}"): sites for k in range(12)})
    assert alone in list(among)


def test_what_is_usual_counts_beside_what_the_others_say() -> None:
    """With equal errors the variance between sites is that of the values less the errors'."""
    values, error = np.array([0.70, 0.85, 0.9, 0.95]), 0.02
    others = [claim(value, error) for value in values]
    low, high = predicted(others, claim(0.8, error), level=0.01)
    between = (4 * 0.05**2 + 3 * (values.var(ddof=1) - error**2)) / 7
    half = t.ppf(0.995, 7) * np.sqrt((between + error**2) * 1.25)
    assert (low, high) == (pytest.approx(0.85 - half), pytest.approx(0.85 + half))


def test_three_hospitals_cannot_contradict_one_another() -> None:
    sites = {"a": claim(0.5), "b": claim(0.9), "c": claim(0.9)}
    assert not list(contradicted({("auroc", "w"): sites}))
