"""Find the smallest schedule that still fails, so that a person can read it.

Delta debugging over the events [1]; then each event that is left is made plainer where that
changes nothing: no power cut, a disk that is full for one point only.

References:
    [1] Zeller, Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 2002,
        sec. 3 (ddmin).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from simulations.faults.events import Event, Full, Kill, Schedule

Fails = Callable[[Schedule], bool]


def shrink(schedule: Schedule, fails: Fails) -> Schedule:
    """Return a schedule of as few and plain events as still fail.

    Args:
        schedule: One that fails.
        fails: Plays a schedule; must answer the same every time.

    Returns:
        A schedule that fails, none of whose events can be left out.
    """
    events, parts = schedule.events, 2
    while events:
        smaller = next(
            (s for s in _without(events, parts) if fails(replace(schedule, events=s))), None
        )
        if smaller is not None:
            events, parts = smaller, max(2, parts - 1)
        elif parts >= len(events):
            break
        else:
            parts = min(len(events), 2 * parts)
    return _plainer(replace(schedule, events=events), fails)


def _without(events: tuple[Event, ...], parts: int) -> Iterator[tuple[Event, ...]]:
    """Yield the events less each of so many parts, of nearly equal size."""
    edges = [len(events) * part // parts for part in range(parts + 1)]
    for start, end in pairwise(edges):
        if start < end:
            yield events[:start] + events[end:]


def _plainer(schedule: Schedule, fails: Fails) -> Schedule:
    for place, event in enumerate(schedule.events):
        plain = _plain(event)
        changed = (*schedule.events[:place], plain, *schedule.events[place + 1 :])
        if plain != event and fails(replace(schedule, events=changed)):
            schedule = replace(schedule, events=changed)
    return schedule


def _plain(event: Event) -> Event:
    if isinstance(event, Kill):
        return replace(event, power=False)
    return replace(event, lasts=1) if isinstance(event, Full) else event
