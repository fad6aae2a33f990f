"""Which window a patient is in: calendar dates decide, never a number of patients.

A window that closed on a count would let one added patient push others over every later
boundary, and no statement about one patient would hold. A patient belongs to the window of
the first eligible exam and to no other, so one patient changes one window; who that is a site
works out (``site_client.windows``). Too small windows are released like any other; joining them
is post-processing. Dates are the site's own; of a window only its ends are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from fedrad.errors import DataError
from fedrad.metrics.metric import pooled
from fedrad.protocol.messages import Block
from fedrad.settings import refuse_problems

LONGEST_DAYS = 366
SMALLEST_SIZE = 50  # noised patients below which a window waits for the next


@dataclass(frozen=True, slots=True)
class Window:
    """From ``first`` to ``last``, both included."""

    first: date
    last: date

    @property
    def name(self) -> str:
        """What tables call it: its first day; windows sort by it."""
        return self.first.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The public dates of a study's windows: all equally long, the first begins at ``begins``."""

    begins: date
    days: int

    def __post_init__(self) -> None:
        refuse_problems("windows", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not 1 <= self.days <= LONGEST_DAYS:
            yield f"days must lie between 1 and {LONGEST_DAYS}, got {self.days}"

    def window(self, number: int) -> Window:
        """Return the window of that number, counted from 0."""
        first = self.begins + timedelta(days=number * self.days)
        return Window(first, first + timedelta(days=self.days - 1))

    def number_of(self, day: date) -> int | None:
        """Return the number of the window of a day; ``None`` before the first."""
        passed = (day - self.begins).days
        return None if passed < 0 else passed // self.days

    def closed(self, today: date) -> int:
        """Return how many windows have closed: their last day is over."""
        return max(0, (today - self.begins).days // self.days)


@dataclass(frozen=True, slots=True)
class Released:
    """One or more windows in a row, as their noised blocks were released or summed."""

    windows: tuple[str, ...]  # names, in order
    blocks: tuple[Block, ...]

    def block(self, name: str) -> Block | None:
        """Return a block by its name, if it was released."""
        return next((block for block in self.blocks if block.name == name), None)


def together(releases: Sequence[Released]) -> Released:
    """Return several windows as one: sums add, independent noises add in variance.

    Raises:
        DataError: None is given, or their blocks do not fit.
    """
    if not releases:
        raise DataError("no window is given, so there is nothing to join")
    shapes = {tuple((b.name, b.values.shape) for b in one.blocks) for one in releases}
    if len(shapes) > 1:
        raise DataError("windows of different kinds or edges cannot be joined")
    names = tuple(name for one in releases for name in one.windows)
    return Released(names, pooled([one.blocks for one in releases]))


def large_enough(releases: Sequence[Released], size: float = SMALLEST_SIZE) -> tuple[Released, ...]:
    """Return windows in order, each too small one joined with what follows it.

    What decides is the released count, noise included, so the joining tells nothing more. A
    last window that is too small stays as it is: it waits for the next.
    """
    found: list[Released] = []
    waiting: list[Released] = []
    for one in releases:
        waiting.append(one)
        whole = together(waiting)
        if patients(whole) >= size:
            found.append(whole)
            waiting = []
    return (*found, together(waiting)) if waiting else tuple(found)


def patients(released: Released) -> float:
    """Return the noised number of patients that a release says."""
    for name in ("n", "seen", "labelled"):
        block = released.block(name)
        if block is not None:
            return float(np.sum(block.values))
    raise DataError("a window's release has no count of patients")
