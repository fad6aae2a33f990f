"""Prevalence without labels: right under label shift, silent where images changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_patients import LAYOUT, images_of, patients, reference

from fedrad.shift.prevalence import likeliest, prevalence, quiet
from fedrad.shift.statistics import readings

BEFORE = reference(np.random.default_rng(1))


@given(st.floats(0.02, 0.98), st.integers(0, 2**32 - 1))
def test_on_a_true_mixture_the_weight_comes_back(share: float, seed: int) -> None:
    rows = np.random.default_rng(seed).dirichlet(np.ones(8), 2)
    mixture = share * rows[1] + (1 - share) * rows[0]
    apart = np.abs(rows[0] - rows[1]).sum()
    if apart > 0.5:
        assert likeliest(1000 * mixture, 500 * rows) == pytest.approx(share, abs=0.02)


def test_negative_cells_and_empty_classes_do_no_harm() -> None:
    table = np.array([[30.0, 20, -3, 1], [-2, 5, 20, 30]])
    assert 0 <= likeliest(np.array([-4.0, 10, 10, 5]), table) <= 1
    assert math.isnan(likeliest(np.zeros(4), table))
    assert math.isnan(likeliest(np.ones(4), table * [[1], [0]]))


@pytest.mark.parametrize("share", [0.3, 0.55])
def test_the_interval_of_an_unlabelled_window_holds_the_truth(share: float) -> None:
    here = images_of(patients(np.random.default_rng(11), size=400, positives=share)[0])
    found = prevalence(here, BEFORE, LAYOUT, rng=np.random.default_rng(1))
    assert found.lo <= share <= found.hi
    assert found.hi - found.lo < 0.35
    assert quiet(readings(here, BEFORE, LAYOUT))


def test_where_images_changed_nothing_is_said() -> None:
    here = images_of(patients(np.random.default_rng(12), brighter=0.3)[0])
    assert not quiet(readings(here, BEFORE, LAYOUT))
    assert not quiet({}), "unread channels are not quiet"


def test_too_few_patients_have_no_prevalence() -> None:
    here = images_of(patients(np.random.default_rng(13), size=3)[0])
    found = prevalence(here, BEFORE, LAYOUT, rng=np.random.default_rng(1))
    assert math.isnan(found.value)
