"""How far long work is and how long it may still take, said on stderr in whole lines.

Whole lines, so that a log, a screen reader and a person get the same; not more often than every
few seconds. The estimate is the rest at the pace so far: it is a guess and says "about".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from fedrad.clock import Clock, SystemClock

T = TypeVar("T")
Say = Callable[[str], None]
EVERY_S = 5.0  # between two lines


def silent(_: str) -> None:
    """Say nothing: what ``--quiet`` means."""


def counted(
    items: Iterable[T], say: Say, *, what: str, total: int, clock: Clock | None = None
) -> Iterator[T]:
    """Yield ``items``, saying from time to time how many of ``total`` are done.

    Args:
        items: The work; each is done when the next one is asked for.
        say: Told a line at most every ``EVERY_S`` seconds, and none about short work.
        what: What is being done, such as ``"reading files"``.
        total: How many there are.
        clock: For tests.
    """
    clock = clock or SystemClock()
    begun = said = clock.monotonic_s()
    for done, item in enumerate(items):
        now = clock.monotonic_s()
        if done and now - said >= EVERY_S:
            say(f"{what}: {done} of {total}, {left((now - begun) / done * (total - done))}")
            said = now
        yield item


class Pace:
    """How long the rest of some work takes at the pace so far, where no loop counts it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._first: tuple[float, float] | None = None  # when, and how much was done

    def left(self, done: float, total: float) -> str:
        """Return ``", about 3 min left"`` to end a line with.

        Empty at the first call, from which the pace is taken, and while nothing was done since.
        """
        now = self._clock.monotonic_s()
        if self._first is None:
            self._first = now, done
        begun, before = self._first
        if done <= before or done >= total:
            return ""
        return f", {left((now - begun) / (done - before) * (total - done))}"


def left(seconds: float) -> str:
    """Return how long work may still take, as people say it."""
    if seconds < 5:
        return "a few seconds left"
    if seconds < 90:
        return f"about {round(seconds / 5) * 5} s left"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
