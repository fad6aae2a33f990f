"""When somebody works: ``[site] hours`` in a machine's local time, a task's in UTC.

``"22:00-06:00"``, ``"mon-fri 18:00-07:00, sat-sun 00:00-24:00"``; empty: always. A span that
ends before it begins goes past midnight and belongs to the day on which it began.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fedrad.errors import SettingsError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+)?"
    r"(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)"
)
_DAY_MINUTES = 24 * 60
_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of working time, on some days of the week."""

    days: frozenset[int]  # Monday is 0
    opens: int  # minutes after midnight, below 24 h
    minutes: int  # how long, up to 24 h

    def holds(self, moment: datetime) -> bool:
        """Whether a local time lies in it."""
        minute = moment.hour * 60 + moment.minute
        today, before = moment.weekday(), (moment.weekday() - 1) % 7
        return (today in self.days and self.opens <= minute < self.opens + self.minutes) or (
            before in self.days and minute + _DAY_MINUTES < self.opens + self.minutes
        )


def parse_hours(text: str) -> tuple[Span, ...]:
    """Read ``[site] hours``; no span means always.

    Raises:
        SettingsError: The text cannot be read.
    """
    return tuple(_span(part.strip()) for part in text.lower().split(",")) if text.strip() else ()


def hours_problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a text of hours."""
    try:
        parse_hours(text)
    except SettingsError as error:
        yield from error.problems


def is_open(spans: tuple[Span, ...], moment: datetime) -> bool:
    """Whether the site works at a local time."""
    return not spans or any(span.holds(moment) for span in spans)


def opens_at(spans: tuple[Span, ...], moment: datetime) -> datetime:
    """Return the next local time at which the site works, to the minute; now, if it does."""
    later = moment
    while not is_open(spans, later):
        later = later.replace(second=0, microsecond=0) + _STEP
    return later


def until_worked_s(spans: tuple[Span, ...], moment: datetime, work_s: float) -> float:
    """Return in how many seconds from ``moment`` on so many seconds of working time are over."""
    now, left_s = moment, work_s
    while spans and left_s > 0:
        now = opens_at(spans, now)
        minute_s = _STEP.total_seconds() - now.second - now.microsecond / 1e6
        step_s = min(left_s, minute_s)
        now, left_s = now + timedelta(seconds=step_s), left_s - step_s
    return (now - moment).total_seconds() + left_s


def _span(part: str) -> Span:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise _wrong(part)
    opens, closes = _minutes(found["opens"]), _minutes(found["closes"])
    if opens >= _DAY_MINUTES or closes > _DAY_MINUTES or opens == closes:
        raise _wrong(part)
    minutes = closes - opens if closes > opens else closes + _DAY_MINUTES - opens
    return Span(_days(part, found["first"], found["last"]), opens, minutes)


def _days(part: str, first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    try:
        start, end = _DAYS.index(first), _DAYS.index(last or first)
    except ValueError:
        raise _wrong(part) from None
    return frozenset((start + step) % 7 for step in range((end - start) % 7 + 1))


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    return hours * 60 + minutes if minutes < 60 else 2 * _DAY_MINUTES


def _wrong(part: str) -> SettingsError:
    line = f"hours must be like '22:00-06:00' or 'mon-fri 18:00-07:00', got {part!r}"
    return SettingsError("site", (line,))
