"""Better is only said where it is so, and the bootstrap is as wide as theory has it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score

from fedrad.errors import DataError
from fedrad.metrics.classification import auroc
from fedrad.metrics.intervals import (
    Difference,
    holm,
    paired_difference,
    paired_mean_difference,
    verdict,
)

Floats = npt.NDArray[np.float64]


def two_models(n: int, seed: int, *, gain: float) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 < 2).astype(np.int64)
    shared = rng.normal(size=n)
    return (
        shared + 0.5 * rng.normal(size=n) + (1 + gain) * labels,
        shared + 0.5 * rng.normal(size=n) + labels,
        labels,
    )


def test_the_difference_is_that_of_scikit_learns_areas() -> None:
    a, b, labels = two_models(150, seed=1, gain=0.5)
    a, b = np.round(a, 1), np.round(b, 1)
    found = paired_difference(a, b, labels, np.random.default_rng(0))
    assert found.value == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b))
    assert found.lo < found.value < found.hi


def test_the_bootstrap_resamples_patients_within_each_class() -> None:
    """A slow bootstrap written out, as the second way of computing the same interval."""
    raw_a, raw_b, labels = two_models(60, seed=2, gain=0.5)
    a, b = (1 / (1 + np.exp(-raw)) for raw in (raw_a, raw_b))
    rng = np.random.default_rng(1)
    ill, well = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    draws = []
    for _ in range(600):
        who = np.concatenate([rng.choice(ill, len(ill)), rng.choice(well, len(well))])
        draws.append(auroc(a[who], labels[who]) - auroc(b[who], labels[who]))
    found = paired_difference(a, b, labels, np.random.default_rng(0))
    assert (found.lo, found.hi) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.015)


def test_equal_models_are_called_different_about_one_time_in_twenty() -> None:
    wrong = []
    for seed in range(200):
        a, b, labels = two_models(100, seed, gain=0.0)
        found = paired_difference(a, b, labels, np.random.default_rng(seed), draws=500)
        wrong.append(not found.lo <= 0 <= found.hi)
    assert 0.005 <= np.mean(wrong) <= 0.10


def test_the_p_value_of_a_mean_is_close_to_students() -> None:
    rng = np.random.default_rng(3)
    b = rng.normal(size=80)
    a = b + 0.25 + rng.normal(size=80)
    found = paired_mean_difference(a, b, rng, draws=20_000)
    assert found.value == pytest.approx((a - b).mean())
    assert found.p == pytest.approx(ttest_rel(a, b).pvalue, abs=0.01)


def test_a_model_is_not_different_from_itself() -> None:
    a, _, labels = two_models(50, seed=4, gain=0.0)
    assert paired_difference(a, a, labels, np.random.default_rng(0)) == Difference(0, 0, 0, 1.0)
    assert paired_mean_difference(a, a, np.random.default_rng(0)).p == 1.0


def test_without_a_class_or_a_patient_nothing_can_be_said() -> None:
    rng = np.random.default_rng(0)
    assert math.isnan(paired_difference([0.1, 0.2], [0.2, 0.1], [1, 1], rng).value)
    assert math.isnan(paired_mean_difference([], [], rng).value)


def test_holm_gives_the_printed_example() -> None:
    """Holm's step-down by hand: 4 × .005, 3 × .01, then 2 × .03 carried over .04."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.01, math.nan]) == pytest.approx((0.01, math.nan), nan_ok=True)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for p, a in zip(p_values, adjusted, strict=True))
    assert max(adjusted) <= 1
    by_size = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert by_size == sorted(by_size)


@pytest.mark.parametrize(
    ("difference", "p", "smallest", "said"),
    [
        (Difference(0.05, 0.01, 0.09, 0.01), 0.02, 20, "better"),
        (Difference(-0.05, -0.09, -0.01, 0.01), 0.02, 20, "worse"),
        (Difference(0.05, -0.01, 0.11, 0.1), 0.02, 20, "cannot tell"),
        (Difference(0.05, 0.01, 0.09, 0.03), 0.06, 20, "cannot tell"),
        (Difference(0.05, 0.01, 0.09, 0.01), 0.02, 14, "cannot tell"),
        (Difference(math.nan, math.nan, math.nan, math.nan), math.nan, 20, "cannot tell"),
    ],
)
def test_a_verdict_needs_the_interval_the_p_value_and_the_patients(
    difference: Difference, p: float, smallest: int, said: str
) -> None:
    assert verdict(difference, adjusted_p=p, smallest_class=smallest, minimum=15) == said


def test_other_patients_or_values_that_are_not_finite_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="the same patients"):
        paired_mean_difference([1.0], [1.0, 2.0], rng)
    with pytest.raises(DataError, match="not finite"):
        paired_mean_difference([math.nan], [1.0], rng)
    with pytest.raises(DataError, match="one label a patient"):
        paired_difference([1.0], [1.0], [1, 0], rng)
