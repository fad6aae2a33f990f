"""A hospital's claim is held against what all others say; honest ones are left in peace."""

from __future__ import annotations

import numpy as np

from fedrad.metrics.metric import Z
from fedrad.shift.claims import Interval, contradicted


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


def test_three_hospitals_cannot_contradict_one_another() -> None:
    sites = {"a": claim(0.5), "b": claim(0.9), "c": claim(0.9)}
    assert not list(contradicted({("auroc", "w"): sites}))
