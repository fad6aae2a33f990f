"""One injected clock: everything that asks for the time is handed one of these.

Wall time is UTC; waiting uses monotonic seconds, so that a clock that jumps moves no
deadline.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a program may ask of time."""

    def now(self) -> datetime:
        """Return the wall time in UTC."""

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""

    def sleep(self, wait_s: float) -> None:
        """Wait for ``wait_s`` seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return the monotonic clock's seconds."""
        return time.monotonic()

    def sleep(self, wait_s: float) -> None:
        """Wait for ``wait_s`` seconds."""
        time.sleep(wait_s)


def stamp(clock: Clock) -> str:
    """Return the wall time as ISO 8601 in UTC, to the millisecond, ending in ``Z``."""
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
