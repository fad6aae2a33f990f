"""Kappa against printed values and another library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from site_client.agreement import cohen, cohen_agreement, fleiss, fleiss_agreement

# Fleiss' way of counting on the table that Wikipedia prints: 10 subjects, 14 readers, 5 classes.
PRINTED = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_fleiss_kappa_is_the_printed_one() -> None:
    assert fleiss(np.array(PRINTED)) == pytest.approx(0.210, abs=5e-4)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=30))
def test_cohens_kappa_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    ours = cohen(first, second, 3)
    theirs = cohen_kappa_score(first, second) if ours is not None else None
    assert ours == pytest.approx(theirs)


@settings(max_examples=4)
@given(st.integers(0, 1000))
def test_the_interval_holds_the_truth_of_simulated_readers(seed: int) -> None:
    """Two readers who each err in a tenth of exams: kappa (0.82 - 0.5) / 0.5 = 0.64."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 4000)
    first, second = (truth ^ (rng.random(4000) < 0.1) for _ in range(2))
    found = cohen_agreement(first, second, rng)
    assert found.kappa == pytest.approx(0.64, abs=0.06)
    assert found.lo is not None
    assert found.hi is not None
    assert found.lo < found.kappa < found.hi
    assert 0.02 < found.hi - found.lo < 0.08


def test_what_cannot_be_estimated_has_no_number() -> None:
    rng = np.random.default_rng(0)
    same = np.zeros(20, np.int64)
    assert cohen_agreement(same, same, rng).kappa is None
    assert fleiss_agreement(np.array([[2, 0], [1, 1]]), rng).kappa is None
    assert cohen_agreement(same[:0], same[:0], rng).exams == 0
