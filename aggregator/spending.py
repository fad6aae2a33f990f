"""What the sites' ledger lines add up to, as rows for the run's database.

Lines cross the wire, epsilons do not: this is where the aggregator computes its own. A line
counts once, however often replies tell it, and in the round in which it was first told; an
attempt that died counts in full, and a lost line that a site took in again counts once.
Whether a line is what the contract agreed is ``fedrad.protocol.checks``'s business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from aggregator.tables import Spent
from fedrad.errors import LedgerError, ProtocolError
from fedrad.privacy.accounting import Event, epsilon
from fedrad.privacy.ledger import Line, Stream, line_from, spent, without_doubles
from fedrad.task import Task

_LINES_EACH = 16  # far more than a round or a release of a window needs, dead attempts included


def most_lines(task: Task) -> int:
    """Return how many ledger lines a site may tell: rounds, windows and comparisons need them."""
    plan, watched = task.federation, task.monitoring
    releases = plan.rounds + plan.spare_rounds + 1
    if watched is not None:  # the patients from before the first window are one more
        releases += (watched.windows + 1) * watched.releases + watched.comparisons
    return _LINES_EACH * releases


class Spending:
    """The ledger lines of every site of one run, as far as replies told them."""

    def __init__(self, delta: float, *, most_lines: int) -> None:
        self._delta, self._most = delta, most_lines
        self._lines: dict[str, dict[str, Line]] = {}  # site -> hash -> line
        self._told: dict[tuple[str, str, str], int] = {}  # site, stream, reservation -> round

    def rows(self, round_number: int, site: str, lines: Iterable[Line]) -> list[Spent]:
        """Add lines that a reply told and return the rows that they touch.

        A row is what one stream spent in one round: ``steps`` is the sum over all that was
        first told in that round, settled as the ledger settles it, and ``epsilon`` the
        stream's total after it at the task's delta; ``None`` if infinite, as for exact
        releases. Writing a row again replaces it.

        Args:
            round_number: The round of the reply.
            site: Whose ledger it is.
            lines: Of this task; within a stream they differ in their steps only.

        Raises:
            ProtocolError: The site told more lines than ``most_lines``.
        """
        told = list(lines)
        self.take(round_number, site, told)
        known = list(self._lines[site].values())
        counted = {line.hash for line in without_doubles(known)}
        new = [line for line in told if line.hash in counted]
        touched = {(self._round_of(site, line), line.stream) for line in new}
        return [self._row(number, site, stream) for number, stream in sorted(touched)]

    def take(self, round_number: int, site: str, lines: Iterable[Line]) -> None:
        """Add lines that a reply told; arguments and error as for ``rows``."""
        told = list(lines)
        known = self._lines.get(site, {}) | {line.hash: line for line in told}
        if len(known) > self._most:
            raise ProtocolError(f"the site told {len(known)} ledger lines, over {self._most}")
        self._lines[site] = known
        for line in told:
            self._told.setdefault((site, line.stream, line.reservation), round_number)

    def _row(self, number: int, site: str, stream: Stream) -> Spent:
        own = self._events(site, stream, lambda first_told: first_told == number)
        so_far = self._events(site, stream, lambda first_told: first_told <= number)
        total = epsilon(so_far, self._delta)
        return Spent(
            round=number,
            site=site,
            stream=stream,
            mechanism=own[0].mechanism,
            sigma=own[0].multiplier,
            q=own[0].q,
            steps=sum(event.steps for event in own),
            epsilon=total if math.isfinite(total) else None,
            delta=self._delta,
        )

    def _events(
        self, site: str, stream: Stream, counts: Callable[[int], bool]
    ) -> tuple[Event, ...]:
        """Return a stream's settled events whose round ``counts``."""
        known = without_doubles(list(self._lines[site].values()))
        own = [line for line in known if line.stream == stream]
        lines = [line for line in own if counts(self._round_of(site, line))]
        return spent(sorted(lines, key=lambda line: line.seq))[stream]

    def _round_of(self, site: str, line: Line) -> int:
        return self._told[site, line.stream, line.reservation]


def parse_lines(events: Iterable[dict[str, Any]]) -> list[Line]:
    """Return a reply's events as ledger lines.

    Raises:
        ProtocolError: One is not a ledger line.
    """
    try:
        return [line_from(event) for event in events]
    except LedgerError as error:
        raise ProtocolError(str(error)) from None
