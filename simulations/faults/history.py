"""What a run left on disk, read without the programs that wrote it.

Plain reads of the database, of the events in it and of the ledgers' lines; nothing is judged
here. Times and sizes play no part.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aggregator.run_folder import DATABASE
from fedrad.errors import LedgerError
from fedrad.privacy.ledger import Line, parse_line, reply_of
from simulations.faults.play import History
from site_client.home import LEDGER

Row = dict[str, Any]
CHANGING = ("committed", "evaluated")
LATE = "late"  # phase of the row of a reply that came after its own round was closed
TABLES = ("runs", "rounds", "replies", "events")


@dataclass(frozen=True)
class Left:
    """What a schedule left: the run's tables, and what the sites' ledgers say."""

    history: History
    tables: dict[str, list[Row]]

    @cached_property
    def changing(self) -> list[Row]:
        """The rounds that changed the model, in order."""
        rows = [row for row in self.tables["rounds"] if row["state"] in CHANGING]
        return sorted(rows, key=lambda row: int(row["round"]))

    @cached_property
    def events(self) -> list[Row]:
        """The run's history, each with its ``detail`` read."""
        rows = sorted(self.tables["events"], key=lambda row: int(row["seq"]))
        return [row | {"detail": json.loads(row["detail_json"])} for row in rows]

    def kinds(self, kind: str) -> list[Row]:
        """Return the events of a kind."""
        return [event for event in self.events if event["kind"] == kind]

    @cached_property
    def parents(self) -> dict[int, int]:
        """Return which round's model every round was asked about; 0 is the first model."""
        found: dict[int, int] = {}
        made: dict[int, int] = {}
        alive, stands = {int(row["round"]) for row in self.changing}, 0
        for event in self.events:
            number = int(event["round"])
            if event["kind"] == "asked":
                found[number] = stands
            elif event["kind"] == "committed":
                made[number] = found.get(number, 0)
                stands = number
            elif event["kind"] in ("held", "rolled-back"):
                stands = int(event["detail"]["back_to"])
            elif event["kind"] == "lost":
                while stands and stands not in alive:
                    stands = made.get(stands, 0)
        return found

    def accepted(self, number: int) -> dict[str, str]:
        """Return the round's own updates that it accepted: site to digest."""
        return self._done(number, "train")

    def carried(self, number: int) -> dict[str, str]:
        """Return the updates of earlier rounds that a round folds: site to digest."""
        own = self.accepted(number)
        late = self._done(number, LATE)
        return {site: digest for site, digest in late.items() if site not in own}

    def _done(self, number: int, phase: str) -> dict[str, str]:
        return {
            row["site"]: row["update_digest"]
            for row in self.tables["replies"]
            if (row["round"], row["phase"], row["outcome"]) == (number, phase, "done")
        }

    def told(self, site: str) -> set[str]:
        """Return the replies of whose cost a site told the coordinator."""
        events = (event for event in self.kinds("reply") if event["site"] == site)
        lines = (line for event in events for line in event["detail"]["ledger_lines"])
        return {str(line["reservation"]).partition("#")[0] for line in lines}

    def ledger(self, home: str) -> list[Line]:
        """Return the lines of a home's ledger; of a damaged one as it was before, too."""
        path = self.history.homes / home / LEDGER
        before = self.history.damaged.get(path, b"")
        now = path.read_bytes() if path.exists() else b""
        found = {line.hash: line for content in (before, now) for line in _lines(content)}
        return sorted(found.values(), key=lambda line: line.seq)


def read(history: History) -> Left:
    """Read what ``history`` points to; a table that is not there has no rows."""
    path = history.run / DATABASE
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    if path.exists():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            for name in TABLES:
                with suppress(sqlite3.OperationalError):  # it was killed before its first table
                    rows = database.execute(f"SELECT * FROM {name}")  # noqa: S608  # our names
                    tables[name] = [dict(row) for row in rows]
    return Left(history, tables)


def charged(lines: list[Line], reply: str) -> list[Line]:
    """Return the last word on every attempt at a reply: its commit, or what is still open."""
    last: dict[tuple[str, str], Line] = {}
    for line in lines:
        if reply_of(line) == reply:
            last[line.reservation, line.stream] = line
    return list(last.values())


def files(folder: Path) -> Iterator[Path]:
    """Yield every file of a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def _lines(content: bytes) -> Iterator[Line]:
    for text in content.split(b"\n"):
        with suppress(LedgerError):
            yield parse_line(text)
