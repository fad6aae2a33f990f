"""Windows are told apart by calendar dates alone; small ones wait for the next."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import DataError, SettingsError
from fedrad.protocol.messages import Block
from fedrad.shift.windows import (
    Calendar,
    Released,
    large_enough,
    patients,
    together,
)

MONTHS = Calendar(begins=date(2026, 1, 1), days=30)


@given(st.dates(date(2025, 6, 1), date(2028, 1, 1)))
def test_a_day_is_in_the_window_of_its_number_and_before_the_first_in_none(day: date) -> None:
    number = MONTHS.number_of(day)
    assert (number is None) == (day < MONTHS.begins)
    if number is not None:
        assert MONTHS.window(number).first <= day <= MONTHS.window(number).last


def test_a_window_is_closed_when_its_last_day_is_over() -> None:
    last = MONTHS.window(0).last
    assert MONTHS.closed(last) == 0
    assert MONTHS.closed(last + timedelta(days=1)) == 1
    assert MONTHS.closed(date(2020, 1, 1)) == 0
    assert MONTHS.window(1).name == "2026-01-31"


def release(name: str, n: float, sigma: float = 2.0) -> Released:
    return Released((name,), (Block(name="n", values=np.array([n]), sigma=sigma, sensitivity=1.0),))


def test_small_windows_wait_for_the_next() -> None:
    found = large_enough([release("a", 80), release("b", 20), release("c", 45), release("d", -3)])
    assert [one.windows for one in found] == [("a",), ("b", "c"), ("d",)]
    assert [patients(one) for one in found] == [80, 65, -3]
    joined = found[1].block("n")
    assert joined is not None
    assert joined.sigma == pytest.approx(np.hypot(2, 2))


def test_windows_that_do_not_fit_are_not_joined() -> None:
    other = Released(("b",), (Block(name="n", values=np.zeros(2), sigma=1.0, sensitivity=1.0),))
    with pytest.raises(DataError, match="different kinds"):
        together([release("a", 10), other])
    with pytest.raises(DataError, match="no window"):
        together([])


def test_odd_calendars_and_releases_are_refused() -> None:
    with pytest.raises(SettingsError, match="days must lie between 1 and 366"):
        Calendar(begins=date(2026, 1, 1), days=0)
    with pytest.raises(DataError, match="no count"):
        patients(Released(("a",), ()))
