"""A recalibration finds the one that was undone, and says on other patients what it does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from window_patients import LAYOUT

from fedrad.metrics.fusion import Estimate
from fedrad.shift.recalibration import (
    Recalibration,
    as_parameters,
    effect,
    fitted,
    from_parameters,
)

BINS = len(LAYOUT.edges) - 1


def table(size: int, *, intercept: float, slope: float, seed: int = 1) -> Estimate:
    """Patients whose score's logit must become ``intercept + slope x`` to be right."""
    rng = np.random.default_rng(seed)
    scores = expit(rng.normal(0, 1.5, size))
    labels = (rng.uniform(size=size) < expit(intercept + slope * logit(scores))).astype(int)
    place = np.searchsorted(LAYOUT.edges[1:-1], scores, side="right") + BINS * labels
    return Estimate(np.bincount(place, minlength=2 * BINS).astype(float), np.eye(2 * BINS))


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (-1.0, 1.0), (0.5, 0.5)])
def test_what_was_undone_is_found(intercept: float, slope: float) -> None:
    made = fitted(table(20_000, intercept=intercept, slope=slope), LAYOUT)
    assert made is not None
    assert made.intercept == pytest.approx(intercept, abs=0.1)
    assert made.slope == pytest.approx(slope, abs=0.1)


def test_few_patients_change_scores_little_and_too_few_not_at_all() -> None:
    made = fitted(table(60, intercept=0.0, slope=1.0), LAYOUT)
    assert made is not None
    assert 0.5 < made.slope < 1.7
    assert fitted(table(20, intercept=-3.0, slope=1.0), LAYOUT) is None


def test_noise_alone_does_not_flatten_scores() -> None:
    """Most cells of a small table hold nobody: cut off at 0 they would seem to hold some."""
    rng, slopes = np.random.default_rng(4), []
    for draw in range(60):
        exact = table(300, intercept=0.0, slope=1.0, seed=draw)
        noisy = exact.counts + rng.normal(0, 7.0, 2 * BINS)
        made = fitted(Estimate(noisy, 49.0 * np.eye(2 * BINS)), LAYOUT)
        assert made is not None
        slopes.append(made.slope)
    assert 0.95 < np.median(slopes) < 1.05


def test_labels_that_scores_part_wholly_have_a_recalibration() -> None:
    counts = np.zeros(2 * BINS)
    counts[[0, -1]] = 100.0
    made = fitted(Estimate(counts, 1e-12 * np.eye(2 * BINS)), LAYOUT)
    assert made is not None
    assert 1.0 <= made.slope < 5.0


def test_its_effect_is_measured_on_other_patients() -> None:
    made = fitted(table(2000, intercept=-1.0, slope=0.6), LAYOUT)
    assert made is not None
    later = table(2000, intercept=-1.0, slope=0.6, seed=2)
    found = effect(later, LAYOUT, made, rng=np.random.default_rng(1))
    assert found is not None
    plain, moved = found.errors
    assert moved.hi < plain.lo
    assert found.losses[1].value < found.losses[0].value
    assert found.patients == pytest.approx(2000)


def test_an_action_keeps_it() -> None:
    made = Recalibration(-0.25, 1.5)
    assert from_parameters(as_parameters(made)) == made
    assert from_parameters({}) is None
