"""A label that follows the scanner is flagged; one that does not is not, at the stated rate."""

import numpy as np
import pandas as pd
import pytest

from site_client.label_review import (
    FLAG_P,
    group_patients,
    group_readers,
    reader_agreement,
    scanners_of,
    sources_of,
)


def simulated(seed: int, patients: int, shares: tuple[float, ...]) -> tuple[pd.Series, pd.Series]:
    """Patients on as many scanners as shares, and who of them is positive."""
    rng = np.random.default_rng(seed)
    scanner = rng.integers(0, len(shares), patients)
    positive = rng.random(patients) < np.array(shares)[scanner]
    names = pd.Series([f"S{number}" for number in scanner])
    return names, pd.Series(positive)


def test_a_label_that_follows_the_scanner_is_flagged_with_its_numbers() -> None:
    groups, positive = simulated(1, 200, (0.2, 0.8))
    found = group_patients("scanner", groups, positive, np.random.default_rng(0))
    assert found.following.flagged
    assert found.following.v == pytest.approx(0.6, abs=0.1)
    assert [group.name for group in found.groups] == ["S0", "S1"]
    for group in found.groups:
        assert group.lo < group.positive / group.patients < group.hi


def test_equal_scanners_are_flagged_no_more_often_than_stated() -> None:
    flagged = 0
    for seed in range(30):
        groups, positive = simulated(seed, 60, (0.3, 0.3, 0.3))
        found = group_patients("scanner", groups, positive, np.random.default_rng(seed))
        flagged += found.following.flagged
    assert flagged <= 2  # 30 draws at FLAG_P = 0.01: 3 or more have a chance of 1 in 300
    assert FLAG_P == 0.01


def test_what_it_says_would_be_seen_is_seen_eight_times_of_ten() -> None:
    """Two equal scanners, half of the patients positive: V is the difference of shares."""
    probe, positive = simulated(0, 120, (0.5, 0.5))
    visible = group_patients(
        "scanner", probe, positive, np.random.default_rng(0)
    ).following.visible_v
    assert visible == pytest.approx(0.31, abs=0.02)
    hits = 0
    for seed in range(40):
        groups, ill = simulated(seed, 120, (0.5 - visible / 2, 0.5 + visible / 2))
        hits += group_patients("s", groups, ill, np.random.default_rng(1)).following.flagged
    assert 0.62 <= hits / 40 <= 0.95


def test_one_scanner_or_one_class_says_nothing_and_names_of_persons_are_no_grouping() -> None:
    rng = np.random.default_rng(0)
    groups, positive = simulated(0, 40, (0.5,))
    assert group_patients("scanner", groups, positive, rng).following.p is None
    groups, positive = simulated(0, 40, (0.0, 0.0))
    assert group_patients("scanner", groups, positive, rng).following.p is None
    many = pd.Series([f"text {number}" for number in range(40)])
    found = group_patients("source", many, positive, rng)
    assert (found.groups, found.values) == ((), 40)


def test_a_patients_scanner_and_source_are_the_most_frequent() -> None:
    images = pd.DataFrame(
        {"patient": ["P", "P", "P", "Q"], "maker": ["A", "B", "B", ""], "device": ["1" * 9] * 4}
    )
    assert dict(scanners_of(images)) == {"P": "B 111111", "Q": "unknown maker 111111"}
    votes = pd.DataFrame({"patient": ["P", "P", "Q"], "source": ["", "report", ""]})
    assert dict(sources_of(votes)) == {"P": "report"}


def test_readers_are_compared_on_the_exams_that_they_share() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        truth = number % 2
        rows += [(f"E{number}", "", "x", truth), (f"E{number}", "", "y", truth)]
        if number < 20:
            rows.append((f"E{number}", "", "z", 1 - truth))
    rows.append(("alone", "", "x", 1))
    votes = pd.DataFrame(rows, columns=["key", "side", "reader", "value"])
    found = reader_agreement(votes, rng)
    kappas = {(first, second): one.kappa for first, second, one in found.pairs}
    assert kappas == pytest.approx({("x", "y"): 1.0, ("x", "z"): -1.0, ("y", "z"): -1.0})
    assert found.everybody.exams == 30
    assert reader_agreement(votes.iloc[:0], rng).everybody.kappa is None


def test_a_readers_prevalence_is_of_its_own_calls() -> None:
    """Tested where every patient has one reader alone."""
    rng = np.random.default_rng(0)
    alone = pd.DataFrame(
        {"patient": range(60), "reader": ["x", "y"] * 30, "value": [0, 1] * 28 + [1, 0] * 2}
    )
    found = group_readers(alone, 1, rng)
    assert [(g.name, g.patients, g.positive) for g in found.groups] == [("x", 30, 2), ("y", 30, 28)]
    assert found.following.flagged
    both = pd.concat([alone, alone.assign(reader="z", value=1)])
    found = group_readers(both, 1, rng)
    assert [(g.name, g.positive) for g in found.groups] == [("x", 2), ("y", 28), ("z", 60)]
    assert (found.following.p, found.following.patients) == (None, 60)
