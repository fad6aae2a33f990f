"""When a part of a window may be asked for: a public rule of dates, the same at both ends.

Images are told once the window's last day is over. Labels that come later are told
``label_days`` after it and once: who is read sooner is another kind of patient than who is
read later, so labels told at once would be of some, and the others' lost.
"""

from __future__ import annotations

from datetime import date, timedelta

from fedrad.protocol.messages import Phase
from fedrad.shift.agreed import calendar_of, monitoring_of
from fedrad.task import Task


def last_due(task: Task, phase: Phase, today: date) -> int:
    """Return the last round of windows that may be asked for in a phase; -1: none yet.

    Round 0 is the time before the windows, which is told at once; its labels are waited for
    from the first window's first day on.
    """
    calendar = calendar_of(task)
    day = today - timedelta(days=_wait(task, phase))
    if _wait(task, phase) and day < calendar.begins:
        return -1
    return min(calendar.closed(day), monitoring_of(task).windows)


def first_day(task: Task, phase: Phase, round_number: int) -> date:
    """Return the day from which on a window of this round may be asked for in a phase."""
    calendar = calendar_of(task)
    over = calendar.begins + timedelta(days=calendar.days * round_number)
    return over + timedelta(days=_wait(task, phase))


def _wait(task: Task, phase: Phase) -> int:
    return monitoring_of(task).label_days if phase == "window-labels" else 0
