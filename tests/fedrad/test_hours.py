"""A site works in its hours and not a minute outside; a deadline counts those alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.hours import is_open, opens_at, parse_hours, until_worked_s

MONDAY = datetime(2026, 11, 16)  # noqa: DTZ001  # local time
MOMENTS = st.integers(0, 7 * 24 * 60 - 1).map(lambda n: MONDAY + timedelta(minutes=n))


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "day", "clock", "expected"),
    [
        ("", 0, "03:00", True),
        ("08:00-18:00", 0, "08:00", True),
        ("08:00-18:00", 0, "17:59", True),
        ("08:00-18:00", 0, "18:00", False),
        ("22:00-06:00", 0, "05:59", True),
        ("22:00-06:00", 0, "06:00", False),
        ("22:00-06:00", 0, "22:00", True),
        ("mon-fri 18:00-07:00", 5, "06:59", True),  # Saturday morning belongs to Friday
        ("mon-fri 18:00-07:00", 5, "18:00", False),
        ("mon-fri 18:00-07:00", 0, "06:59", False),  # Monday morning belongs to Sunday
        ("mon-fri 18:00-07:00, sat-sun 00:00-24:00", 6, "12:00", True),
        ("sun-mon 10:00-11:00", 6, "10:30", True),
        ("sun-mon 10:00-11:00", 1, "10:30", False),
        ("wed 00:00-24:00", 2, "23:59", True),
    ],
)
def test_the_site_is_open_when_its_hours_say_so(
    text: str, day: int, clock: str, expected: bool
) -> None:
    assert is_open(parse_hours(text), at(day, clock)) is expected


@pytest.mark.parametrize(
    "text",
    ["8-18", "08:00", "08:00-08:00", "25:00-26:00", "08:61-09:00", "xyz 08:00-09:00", "mon", ","],
)
def test_hours_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="hours must be like"):
        parse_hours(text)


@given(MOMENTS, st.sampled_from(["22:00-06:00", "mon-wed 09:30-10:15", "sat 23:00-02:00"]))
def test_the_next_opening_is_open_and_nothing_before_it_is(moment: datetime, text: str) -> None:
    spans = parse_hours(text)
    opens = opens_at(spans, moment)
    assert is_open(spans, opens)
    minutes = int((opens - moment).total_seconds() // 60)
    assert not any(is_open(spans, moment + timedelta(minutes=n)) for n in range(minutes))


@pytest.mark.parametrize(
    ("text", "day", "clock", "work_s", "expected_s"),
    [
        ("", 0, "03:00", 600.0, 600.0),
        ("22:00-06:00", 0, "23:00", 600.0, 600.0),
        ("22:00-06:00", 0, "05:55", 600.0, 16 * 3600 + 600.0),  # 5 minutes now, 5 at night
        ("22:00-06:00", 0, "12:00", 600.0, 10 * 3600 + 600.0),
        ("mon-fri 20:00-06:00", 5, "05:59", 120.0, 2 * 86400 + 14 * 3600 + 120.0),  # Saturday
    ],
)
def test_a_deadline_counts_working_time_only(
    text: str, day: int, clock: str, work_s: float, expected_s: float
) -> None:
    assert until_worked_s(parse_hours(text), at(day, clock), work_s) == pytest.approx(expected_s)


@given(MOMENTS, st.floats(1, 1e4))
def test_the_working_time_in_a_deadline_is_what_was_asked_for(
    moment: datetime, work_s: float
) -> None:
    spans = parse_hours("mon-fri 18:00-07:00, sun 10:00-11:00")
    wait_s = until_worked_s(spans, moment, work_s)
    end = moment + timedelta(seconds=wait_s)
    minutes = int(wait_s // 60) + 2
    open_s = sum(
        max(0.0, (min(end, start + timedelta(minutes=1)) - max(moment, start)).total_seconds())
        for start in (moment + timedelta(minutes=n) for n in range(minutes))
        if is_open(spans, start)
    )
    assert open_s == pytest.approx(work_s, abs=1e-3)
