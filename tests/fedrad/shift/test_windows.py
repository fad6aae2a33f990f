"""One patient, one window, whoever else there is."""

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
    dealt,
    large_enough,
    patients,
    together,
    window_of,
)

MONTHS = Calendar(begins=date(2026, 1, 1), days=30)
days = st.dates(date(2025, 6, 1), date(2028, 1, 1))
people = st.dictionaries(st.text(min_size=1, max_size=3), st.lists(days, min_size=1, max_size=4))


@given(people, st.lists(days, min_size=1, max_size=4))
def test_one_more_patient_changes_one_window_and_moves_nobody(
    others: dict[str, list[date]], exams: list[date]
) -> None:
    before, after = dealt(others, MONTHS), dealt(others | {"somebody else": exams}, MONTHS)
    numbers = set(before) | set(after)
    changed = [k for k in numbers if before.get(k, []) != after.get(k, [])]
    assert len(changed) <= 1
    for number in changed:
        assert set(after[number]) - set(before.get(number, [])) == {"somebody else"}


@given(st.lists(days, min_size=1, max_size=6), days)
def test_later_exams_never_move_a_patient(exams: list[date], later: date) -> None:
    number = window_of(exams, MONTHS)
    assert window_of([*exams, max(later, min(exams))], MONTHS) == number
    if number is not None:
        assert MONTHS.window(number).first <= min(exams) <= MONTHS.window(number).last


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


def test_odd_calendars_and_patients_are_refused() -> None:
    with pytest.raises(SettingsError, match="days must lie between 1 and 366"):
        Calendar(begins=date(2026, 1, 1), days=0)
    with pytest.raises(DataError, match="without an eligible exam"):
        window_of([], MONTHS)
    with pytest.raises(DataError, match="no count"):
        patients(Released(("a",), ()))
