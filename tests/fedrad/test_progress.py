"""Long work says how far it is and how long it may take; short work says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fedrad.progress import Pace, counted, left


class Ticking:
    """A clock that moves by a step at each look."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self.at_s = step_s, -step_s

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC)

    def monotonic_s(self) -> float:
        self.at_s += self.step_s
        return self.at_s

    def sleep(self, wait_s: float) -> None:
        self.at_s += wait_s


def told(step_s: float, total: int) -> list[str]:
    lines: list[str] = []
    items = range(total)
    clock = Ticking(step_s)
    done = list(counted(items, lines.append, what="reading", total=total, clock=clock))
    assert done == list(items)
    return lines


def test_short_work_says_nothing() -> None:
    assert told(0.001, 100) == []


def test_long_work_says_how_many_and_how_long() -> None:
    lines = told(6.0, 4)
    assert lines[0] == "reading: 1 of 4, about 35 s left"  # 12 s an item, 3 more
    assert len(lines) == 3


def test_lines_are_seconds_apart() -> None:
    assert len(told(1.0, 100)) <= 20


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(2, "a few seconds left"), (30, "about 30 s left"), (600, "about 10 min left"),
     (9000, "about 2.5 h left")],
)  # fmt: skip
def test_time_left_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert left(seconds) == said


def test_a_pace_is_taken_from_the_first_look() -> None:
    """A run that is taken up at round 10 of 20 counts its own rounds alone."""
    pace = Pace(Ticking(60.0))
    assert pace.left(10, 20) == ""
    assert pace.left(10, 20) == "", "nothing was done yet"
    assert pace.left(12, 20) == ", about 8 min left"  # 120 s for two, eight more
    assert pace.left(20, 20) == ""
