"""A kind is named where one fits, labels are not judged over moving images, shares sum to one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_patients import LAYOUT, THERE, images_of, patients, reference, window

from fedrad.shift.diagnosis import FEATURES, KINDS, features, named, posterior
from fedrad.shift.reference import reference_of
from fedrad.shift.statistics import readings
from fedrad.shift.tags import counted
from fedrad.shift.windows import Released, together

BEFORE = reference(np.random.default_rng(1))
OLD_IMAGES = reference_of(
    [images_of(patients(np.random.default_rng(50 + k))[0]) for k in range(6)], LAYOUT
)


def three(kind: str) -> Released:
    """Three windows since a change of a kind."""
    rng, found = np.random.default_rng(7), []
    for k in range(3):
        seen, labels = patients(
            rng,
            brighter=0.4 if kind in ("image", "acquisition", "both") else 0.0,
            positives=0.6 if kind in ("label", "both") else 0.3,
        )
        if kind == "acquisition":
            seen = replace(seen, tags=np.tile(counted(LAYOUT.tags, THERE), (200, 1)))
        if kind == "concept":
            labels = np.where(rng.uniform(size=200) < 0.35, 1 - labels, labels)
        if kind == "population":
            young = counted(LAYOUT.population, [{"sex": "F", "age": "30"}])
            seen = replace(seen, population=np.tile(young, (200, 1)))
        found.append(Released((f"w{k}",), window(seen, labels, key=k).blocks))
    return together(found)


@pytest.mark.parametrize("kind", ["image", "acquisition", "label", "concept", "population"])
def test_each_kind_is_named(kind: str) -> None:
    found = posterior([(three(kind), BEFORE)], LAYOUT)
    assert found is not None
    assert named(found) == kind
    assert found[kind] > 0.6


def test_an_unchanged_window_is_most_likely_unchanged() -> None:
    found = posterior([(three("none"), BEFORE)], LAYOUT)
    assert found is not None
    assert max(found, key=lambda kind: found[kind]) == "none"


def test_two_changes_at_once_fit_no_kind_and_nothing_is_claimed_of_labels() -> None:
    found = posterior([(three("both"), BEFORE)], LAYOUT)
    assert found is not None
    assert named(found) == "unknown"
    assert found["label"] == found["concept"] == 0.0


@pytest.mark.parametrize("kind", ["image", "label", "concept", "none"])
def test_without_labels_no_kind_of_labels_is_possible(kind: str) -> None:
    rng = np.random.default_rng(7)
    seen, _ = patients(rng, brighter=0.4 if kind == "image" else 0.0, positives=0.6)
    found = posterior([(images_of(seen), OLD_IMAGES)], LAYOUT)
    assert found is not None
    assert found["label"] == found["concept"] == 0.0
    assert sum(found.values()) == pytest.approx(1.0)


def few_positives(*, missed: bool) -> Released:
    """Two windows with 2 % called positive: fewer of them, or a reader who misses nearly all."""
    rng, found = np.random.default_rng(12), []
    for k in range(2):
        seen, labels = patients(rng, positives=0.3 if missed else 0.02)
        if missed:
            labels = np.where(rng.uniform(size=200) < 0.95, 0, labels)
        found.append(Released((f"w{k}",), window(seen, labels, sigma=1.1, key=20 + k).blocks))
    assert "concept" not in readings(together(found), BEFORE, LAYOUT)
    return together(found)


def test_a_fall_of_prevalence_that_leaves_too_few_positives_to_read_is_named() -> None:
    found = posterior([(few_positives(missed=False), BEFORE)], LAYOUT)
    assert found is not None
    assert named(found) == "label"
    assert (found["label"] > 0.6, found["concept"]) == (True, 0.0)


def test_positives_that_a_reader_misses_are_not_taken_for_fewer_of_them() -> None:
    found = posterior([(few_positives(missed=True), BEFORE)], LAYOUT)
    assert found is not None
    assert named(found) == "unknown"
    assert (found["label"] < 0.2, found["concept"]) == (True, 0.0)


def test_a_window_that_is_too_small_has_no_probabilities() -> None:
    assert (
        posterior([(window(*patients(np.random.default_rng(3), size=1)), BEFORE)], LAYOUT) is None
    )


def test_features_have_their_names_in_order() -> None:
    here = three("acquisition")
    found = features([(here, BEFORE)], readings(here, BEFORE, LAYOUT), LAYOUT)
    said = dict(zip(FEATURES, found, strict=True))
    assert said["one"] == 1.0
    assert said["acquisition above 0"] == 2.0
    assert 4.0 < said["acquisition above 2"] <= 6.0
    assert said["population above 2"] == 0.0


@given(st.lists(st.floats(0, 1), min_size=len(KINDS), max_size=len(KINDS)))
def test_a_kind_is_named_only_with_half_of_what_is_left_for_change(shares: list[float]) -> None:
    found = dict(zip(KINDS, shares, strict=True))
    kind = named(found)
    assert kind != "none"
    if kind != "unknown":
        assert found[kind] >= 0.5 * (sum(shares) - found["none"]) - 1e-9
