"""What a change means depends on the images; one bad window means nothing yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from window_patients import reference

from fedrad.shift.alarms import judge
from fedrad.shift.cusum import (
    DRIFT,
    LONE,
    NEAR,
    REST,
    _highest,
    _threshold,
    _worth,
    path,
    thresholds,
)
from fedrad.shift.estimates import CHANNELS
from fedrad.shift.statistics import Reading

THRESHOLDS = {"image": 4.0, "acquisition": 3.0, "label": 3.0, "concept": 3.0, "population": 3.0}
z_values = st.lists(st.floats(-4, 8), max_size=30)


def windows(quiet: int, loud: int, **z: float) -> list[dict[str, Reading]]:
    """Some windows at z = -0.5, then some at the given readings."""
    after = {name: z.get(name, -0.5) for name in CHANNELS}
    rows = [dict.fromkeys(CHANNELS, -0.5)] * quiet + [after] * loud
    return [
        {name: Reading(name, name, 0.0, float(norm.sf(value))) for name, value in row.items()}
        for row in rows
    ]


def kinds(rows: Sequence[dict[str, Reading]]) -> set[str]:
    return {alarm.kind for alarm in judge(rows, THRESHOLDS).alarms}


@pytest.mark.parametrize("channel", ["image", "label", "concept", "population"])
def test_a_lasting_change_is_found_in_its_second_window_and_dated(channel: str) -> None:
    (alarm,) = judge(windows(8, 4, **{channel: 5.0}), THRESHOLDS).alarms
    assert (alarm.kind, alarm.window, alarm.since) == (channel, 9, 8)


@pytest.mark.parametrize("channel", CHANNELS)
def test_one_bad_window_is_a_note_and_no_alarm(channel: str) -> None:
    rows = windows(5, 1, **{channel: 8.0}) + windows(20, 0)
    found = judge(rows, THRESHOLDS)
    assert not found.alarms
    assert [(note.channel, note.window) for note in found.notes] == [(channel, 5)]


def test_tags_alone_are_a_note_and_with_images_a_new_scanner() -> None:
    alone = judge(windows(5, 5, acquisition=6.0), THRESHOLDS)
    assert not alone.alarms
    assert "tags changed and images did not" in {note.text for note in alone.notes}
    assert kinds(windows(5, 5, acquisition=6.0, image=6.0)) == {"acquisition"}


def test_labels_are_not_judged_while_images_change() -> None:
    found = judge(windows(5, 8, image=6.0, label=6.0, concept=6.0), THRESHOLDS)
    assert {alarm.kind for alarm in found.alarms} == {"image"}
    assert {note.channel for note in found.notes if "not judged" in note.text} == {
        "label", "concept",
    }  # fmt: skip


def test_a_channel_that_cannot_be_read_neither_rises_nor_forgets() -> None:
    rows = windows(3, 1, label=5.0)
    gap: list[dict[str, Reading]] = [{}]
    (alarm,) = judge([*rows, *gap, *windows(0, 1, label=5.0)], THRESHOLDS).alarms
    assert (alarm.window, alarm.since) == (5, 3)
    assert judge([], THRESHOLDS).alarms == ()


def test_a_change_is_dated_where_readings_became_high_not_where_the_sum_last_was_zero() -> None:
    z = [0.0, 1.2, 0.9, 1.0, 6.0, 5.0]
    assert path(z, 4.0).since[-1] == 4
    assert path([6.0, float("nan"), 6.0], 4.0).since[-1] == 0


@given(z_values, st.floats(1.0, 10.0))
def test_a_sum_is_never_negative_and_dates_its_own_rise(z: list[float], threshold: float) -> None:
    one = path(z, threshold)
    assert (one.values >= 0).all()
    for number, since in enumerate(one.since):
        assert (since is None) == (one.values[number] == 0)
        assert since is None or (one.values[since:number] > 0).all()
    if z:
        passed = _highest(np.array([z]), threshold, DRIFT)[0] > threshold
        over = (one.values > threshold) & (one.rest > REST * threshold)
        assert passed == over.any()


def test_thresholds_hold_their_share_of_false_alarms_on_other_draws() -> None:
    """Normal readings with a reference of six windows, drawn another way than the threshold."""
    threshold = _threshold("population", ((1, 0.0, 6.0),), 0.10)
    rng = np.random.default_rng(3)
    offset = rng.standard_normal((4000, 1)) / np.sqrt(6)
    both = np.abs(offset + rng.standard_normal((4000, 50))) / np.sqrt(1 + 1 / 6)
    passed = np.mean(_highest(norm.isf(2 * norm.sf(both)), threshold, DRIFT) > threshold)
    assert 0.075 < passed < 0.125


def passing(threshold: float, sizes: tuple[float, float], *, paths: int) -> float:
    """The share of unchanged paths that pass, of windows drawn with their own variances.

    ``sizes`` are the variances of the reference and of a later window; in patients and noise.
    """
    rng = np.random.default_rng(3)
    offset = rng.standard_normal((paths, 1)) * np.sqrt(sizes[0])
    both = offset + rng.standard_normal((paths, 50)) * np.sqrt(sizes[1])
    z = norm.isf(2 * norm.sf(np.abs(both) / np.sqrt(sum(sizes))))
    return float(np.mean(_highest(z, threshold, DRIFT) > threshold))


@pytest.mark.parametrize("larger", [2.0, 3.0])
def test_windows_that_grew_have_thresholds_that_hold_their_share(larger: float) -> None:
    """Of a window's variance .6 is of patients, .4 of noise; six make the reference."""
    later = 0.6 / larger + 0.4 / larger**2
    same, own = (
        _threshold("population", ((1, 0.0, 6 * worth),), 0.1)
        for worth in (1.0, _worth(0.6, larger))
    )
    assert passing(same, (1 / 6, later), paths=4000) > 0.13
    assert passing(own, (1 / 6, later), paths=4000) < 0.115


def test_windows_of_the_reference_s_size_have_the_thresholds_that_they_had() -> None:
    before = reference(np.random.default_rng(5))
    plain = thresholds(before, windows=6)
    assert all(thresholds(before, windows=6, larger=g) == plain for g in (0.4, 0.95, 1.06))
    assert plain["population"] < thresholds(before, windows=6, larger=2.0)["population"]


def test_one_site_of_very_many_still_has_its_share_of_false_alarms() -> None:
    """Shares of which 1,500 paths would hold less than one."""
    rare, rarer = (_threshold("population", ((1, 0.0, 6.0),), s) for s in (6e-4, 4e-4))
    assert rare < rarer
    assert passing(rare, (1 / 6, 1.0), paths=20_000) < 1.1e-3


def test_a_bad_window_needs_a_whole_threshold_of_others_to_become_an_alarm() -> None:
    bad, h = windows(5, 1, image=8.0), THRESHOLDS["image"]
    some, more = (DRIFT + share * h / 3 for share in (0.95, 1.05))
    assert more < LONE / NEAR
    assert not judge(bad + windows(0, 3, image=some), THRESHOLDS).alarms
    assert judge(bad + windows(0, 3, image=more), THRESHOLDS).alarms


def test_a_high_window_that_others_come_near_needs_part_of_a_threshold_more() -> None:
    high, h = LONE - 0.1, THRESHOLDS["image"]
    some, more = (DRIFT + 0.5 * (REST + step) * h for step in (-0.05, 0.05))
    assert not judge(windows(5, 1, image=high) + windows(0, 2, image=some), THRESHOLDS).alarms
    assert judge(windows(5, 1, image=high) + windows(0, 2, image=more), THRESHOLDS).alarms


def test_scores_of_a_month_of_bad_images_are_not_added_up() -> None:
    bad = windows(5, 1, image=8.0, concept=4.5)
    assert not judge(bad + windows(0, 2, concept=2.2), THRESHOLDS).alarms
    assert judge(windows(5, 1, concept=4.5) + windows(0, 2, concept=2.2), THRESHOLDS).alarms


def test_a_share_of_the_false_alarms_raises_every_threshold() -> None:
    before = reference(np.random.default_rng(5))
    whole, third = (thresholds(before, windows=6, share=share) for share in (1.0, 1 / 3))
    assert all(third[channel] >= whole[channel] for channel in CHANNELS)
    assert third["image"] > whole["image"]
    assert third["concept"] > whole["concept"]


def test_a_rarer_alarm_needs_a_higher_sum() -> None:
    lower, higher = (_threshold("population", ((2, 0.0, 6.0),), share) for share in (0.10, 0.02))
    assert higher > lower
