"""What a site told a coordinator of its ledger, as a file that the coordinator hands back.

A site whose ledger was deleted or rolled back has lines that only coordinators still have.
The file holds them word for word, with the last head that the coordinator saw. Finding the
lines in a run belongs to the aggregator, charging them again to the site.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad.errors import DamagedStateError, LedgerError, SettingsError
from fedrad.privacy.ledger import Line, as_table, digest, line_from
from fedrad.settings import refuse_problems

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldLines:
    """The lines of one task that a site told in one study."""

    schema: int = SCHEMA
    study: str
    site: str
    head: str  # hash of the last line that the coordinator saw, perhaps of another task
    lines: tuple[Line, ...]  # in the order of seq

    def __post_init__(self) -> None:
        refuse_problems("ledger lines", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}"
        for line in self.lines:
            if line.hash != digest(line):
                yield f"the hash of line {line.seq} is not that of its content"


def write_told(path: Path, told: ToldLines) -> None:
    """Write the lines as canonical JSON, durably."""
    table = {
        "schema": told.schema,
        "study": told.study,
        "site": told.site,
        "head": told.head,
        "lines": [as_table(line) for line in told.lines],
    }
    durable.write_json(path, table)


def read_told(path: Path) -> ToldLines:
    """Read what ``write_told`` wrote.

    Raises:
        DamagedStateError: It cannot be read, or is not such a file; ask for it again.
    """
    try:
        return _told(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, LedgerError, SettingsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedStateError(
            f"{path} is no whole list of ledger lines ({reason}); ask the coordinator again"
        ) from None


def _told(table: Any) -> ToldLines:
    lines = tuple(line_from(line) for line in table["lines"])
    return ToldLines(
        schema=int(table["schema"]),
        study=str(table["study"]),
        site=str(table["site"]),
        head=str(table["head"]),
        lines=lines,
    )
