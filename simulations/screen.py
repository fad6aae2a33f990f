"""Tell a person how far a simulation is: one line a stage, one bar for the rounds.

Everything goes to stderr, so that stdout stays for results. The bar names the round, the
sites that are still at work and the time left; without a terminal, plain lines say the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fedrad.progress import Pace

_PHASES = {"train": "training", "evaluate": "scoring"}


class Screen:
    """A run's progress; also the ``Progress`` that the aggregator reports to."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._head = ""
        self._pace, self._rest = Pace(), ""

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text)

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Name what happens now, and how long it took once it is done."""
        start_s = time.monotonic()
        with self._console.status(text) if self._console.is_terminal else _nothing():
            yield
        self.say(f"  {text} · {time.monotonic() - start_s:.0f} s")

    @contextmanager
    def bar(self, text: str, total: int) -> Iterator[None]:
        """Show a bar over ``total`` steps while the body runs."""
        start_s = time.monotonic()
        self._pace = Pace()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            self._bar, self._head = bar, text
            self._task = bar.add_task(text, total=total)
            try:
                yield
            finally:
                self._bar = None
        self.say(f"  {text} · {time.monotonic() - start_s:.0f} s")

    def step(self, text: str = "") -> None:
        """Move the bar on by one."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, description=text or self._head)

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Name the round in the bar."""
        self._head = f"round {round_number} of {rounds}"
        self._rest = self._pace.left(committed, rounds)
        self._show(self._head, completed=committed)

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Name the sites that are still at work."""
        doing = f"{_PHASES.get(phase, phase)}: {', '.join(sorted(sites))}" if sites else "folding"
        self._show(f"{self._head} · {doing}")

    def round_closed(self, round_number: int, state: str) -> None:
        """Say so if a round counted for nothing; the bar moves on otherwise."""
        if state == "void":
            self.say(f"  round {round_number} is void: fewer sites than the quorum answered")
        elif state == "held":
            self.say(f"  round {round_number} is held: the model was worse at several sites")
        elif not self._console.is_terminal and round_number % 5 == 0:
            self.say(f"  {self._head}{self._rest}")

    def evaluation_done(self, round_number: int) -> None:
        """Do nothing: the report shows releases."""

    def _show(self, text: str, completed: int | None = None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=completed)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
