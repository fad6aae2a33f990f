"""What the sites' ledger lines add up to, as rows for the run's database.

Lines cross the wire, epsilons do not: this is where the aggregator computes its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from aggregator.tables import Spent
from fedrad.errors import LedgerError, ProtocolError
from fedrad.privacy.accounting import epsilon
from fedrad.privacy.ledger import Line, line_from, spent


class Spending:
    """The ledger lines of every site of one run, as far as replies carried them."""

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._lines: dict[str, list[Line]] = {}

    def rows(self, round_number: int, site: str, lines: Iterable[Line]) -> list[Spent]:
        """Add a reply's lines and return one row for each stream that they touch.

        ``epsilon`` is the stream's total after them at the task's delta; ``None`` if it is
        infinite, as for exact releases.
        """
        added = list(lines)
        known = self._lines.setdefault(site, [])
        known += [line for line in added if line not in known]
        totals = spent(known)
        newest = {line.stream: line for line in added}
        return [
            self._row(round_number, site, line, epsilon(totals[stream], self._delta))
            for stream, line in newest.items()
        ]

    def _row(self, round_number: int, site: str, line: Line, total: float) -> Spent:
        return Spent(
            round=round_number,
            site=site,
            stream=line.stream,
            mechanism=line.mechanism,
            sigma=line.sigma,
            q=line.q,
            steps=line.steps,
            epsilon=total if math.isfinite(total) else None,
            delta=self._delta,
        )


def parse_lines(events: Iterable[dict[str, Any]]) -> list[Line]:
    """Return a reply's events as ledger lines.

    Raises:
        ProtocolError: One is not a ledger line.
    """
    try:
        return [line_from(event) for event in events]
    except LedgerError as error:
        raise ProtocolError(str(error)) from None
