"""Images of a window are due when it is over, labels that come later when they may be there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import tiny_task

from fedrad.errors import SettingsError
from fedrad.protocol.messages import Phase
from fedrad.shift.due import first_day, last_due
from fedrad.task import Task

TASK = tiny_task('monitoring={begins="2024-01-01", days=31, windows=6, labels="later"}')
PHASES = st.sampled_from(["window-images", "window-labels"])


@given(PHASES, st.integers(0, 6), st.integers(0, 60))
def test_a_window_is_due_from_its_first_day_on(phase: Phase, number: int, wait: int) -> None:
    task = _waiting(wait)
    day = first_day(task, phase, number)
    assert last_due(task, phase, day) >= number
    if number:
        assert last_due(task, phase, day - timedelta(days=1)) == number - 1


def test_labels_are_due_four_weeks_after_the_images() -> None:
    assert first_day(TASK, "window-images", 1) == date(2024, 2, 1)
    assert first_day(TASK, "window-labels", 1) == date(2024, 2, 29)


def test_the_time_before_is_told_at_once_and_its_labels_later() -> None:
    assert last_due(TASK, "window-images", date(2023, 1, 1)) == 0
    assert last_due(TASK, "window-labels", date(2024, 1, 28)) == -1
    assert last_due(TASK, "window-labels", date(2024, 1, 29)) == 0


def test_no_more_windows_are_due_than_were_granted() -> None:
    assert last_due(TASK, "window-labels", date(2030, 1, 1)) == 6


def test_a_wait_of_more_than_a_year_is_refused() -> None:
    with pytest.raises(SettingsError, match="label_days must lie between 0 and 366, got 367"):
        tiny_task('monitoring={begins="2024-01-01", days=31, label_days=367}')


def _waiting(days: int) -> Task:
    assert TASK.monitoring is not None
    return replace(TASK, monitoring=replace(TASK.monitoring, label_days=days))
