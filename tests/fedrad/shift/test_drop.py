"""The parts of a drop add up to it, each follows its cause, and intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_patients import LAYOUT

from fedrad.metrics.fusion import Estimate
from fedrad.shift.drop import Drop, split

BINS = len(LAYOUT.edges) - 1
GOOD = np.stack([np.linspace(2, 0.1, BINS), np.linspace(0.1, 2, BINS)])
GOOD = GOOD / GOOD.sum(axis=1, keepdims=True)
SURE = {"none": 0.0, "image": 0.0, "acquisition": 0.0, "label": 0.0, "concept": 0.0,
        "population": 0.0, "unknown": 0.0}  # fmt: skip


def table(positives: float, rows: np.ndarray = GOOD, size: float = 2000.0) -> Estimate:
    shares = np.array([[1 - positives], [positives]])
    return Estimate((size * shares * rows).ravel(), np.eye(2 * BINS))


def drop(before: Estimate, after: Estimate, **posterior: float) -> Drop:
    rng = np.random.default_rng(1)
    found = split(before, after, LAYOUT, posterior=SURE | posterior, rng=rng)
    assert found is not None
    return found


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0, 1))
def test_parts_add_up_to_the_change(first: float, last: float, share: float) -> None:
    found = drop(table(first), table(last, GOOD[::-1]), image=share, concept=1 - share)
    assert sum(part.value for part in found.parts) == pytest.approx(found.after - found.before)
    assert [part.name for part in found.parts] == ["label", "covariate", "concept", "unexplained"]
    assert all(part.lo <= part.value <= part.hi for part in found.parts if part.value)


def test_another_share_of_positives_costs_by_label_alone() -> None:
    worse = np.stack([GOOD[0], np.full(BINS, 1 / BINS)])  # positives are scored badly
    found = drop(table(0.2, worse), table(0.6, worse), label=1.0)
    parts = {part.name: part.value for part in found.parts}
    assert parts["label"] == pytest.approx(found.after - found.before)
    assert parts["label"] > 0.02
    assert parts["concept"] == parts["covariate"] == 0.0


def test_worse_scores_cost_what_the_diagnosis_says() -> None:
    worse = np.stack([GOOD[0], np.full(BINS, 1 / BINS)])
    for kind, name in (("image", "covariate"), ("concept", "concept"), ("none", "unexplained")):
        parts = {
            part.name: part for part in drop(table(0.3), table(0.3, worse), **{kind: 1.0}).parts
        }
        assert parts[name].lo > 0
        assert parts["label"].value == pytest.approx(0.0, abs=1e-9)


def test_noise_alone_is_no_drop_within_classes() -> None:
    """Cells without patients that noise takes below 0 are not cut off there."""
    rng, good = np.random.default_rng(3), np.stack([np.geomspace(1, 1e-4, BINS)] * 2)
    good[1] = good[1, ::-1]
    good /= good.sum(axis=1, keepdims=True)
    before, after, found = table(0.3, good), table(0.3, good, 200.0), []
    for _ in range(150):
        noisy = after.counts + rng.normal(0, 3.0, 2 * BINS)
        told = drop(before, Estimate(noisy, 9.0 * np.eye(2 * BINS)), concept=1.0)
        found.append({part.name: part.value for part in told.parts}["concept"])
    assert abs(np.mean(found)) < 0.006


def test_a_class_that_is_too_small_has_no_drop() -> None:
    rng = np.random.default_rng(1)
    few = table(0.001)
    assert split(table(0.3), few, LAYOUT, posterior=SURE | {"none": 1.0}, rng=rng) is None


def test_intervals_cover_the_drop_of_the_patients_behind_the_noise() -> None:
    """Tables of Poisson numbers of patients with the noise of the covariance, many times."""
    rng, worse = np.random.default_rng(2), np.stack([GOOD[0], np.full(BINS, 1 / BINS)])
    truth = {part.name: part.value for part in drop(table(0.3), table(0.5, worse), image=1.0).parts}
    inside = []
    for _ in range(200):
        seen = [
            Estimate(rng.poisson(one.counts) + rng.standard_normal(2 * BINS), one.covariance)
            for one in (table(0.3), table(0.5, worse, 500.0))
        ]
        found = split(seen[0], seen[1], LAYOUT, posterior=SURE | {"image": 1.0}, rng=rng)
        assert found is not None
        inside += [part.lo <= truth[part.name] <= part.hi for part in found.parts[:2]]
    assert 0.90 <= np.mean(inside) <= 0.99
