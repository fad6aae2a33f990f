"""Rows of one run for one page: what the page needs, never the whole history.

A run of 50 sites and 200 rounds has 100,000 rows; a page reads some hundreds to some thousands
of them. Read-only, a connection a page. Where the reader may know letters only, names are
replaced here, before anything else sees a row. Files are ``run_folder``'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aggregator.comparison import read_comparison
from aggregator.facts import read_facts
from aggregator.measures import COUNTS
from aggregator.run_folder import DATABASE, TABLES, Row, Run, spoken_label
from fedrad.contract import Contract, read_contract
from fedrad.errors import DamagedStateError
from fedrad.shift.agreed import RECORD
from fedrad.task import Task, read_task

SUMS = ("worst", "macro", "*")
RELEASES = f"window <> '', window <> '{RECORD}', window, round"  # rounds, that period, dates
_NAMED = ("site", "data_site")  # columns that hold a site's name
_TOLD = ("reply", "asked", "received", "folded", "committed", "evaluated")  # said elsewhere


@dataclass(frozen=True, slots=True)
class Book:
    """One run's records, open for reading."""

    folder: Path
    connection: sqlite3.Connection
    task: Task | None
    contract: Contract | None
    letters: dict[str, str]  # site -> what this reader calls it, where that is not its name

    def rows(self, question: str, *values: str | int | float) -> list[Row]:
        """Return the rows that answer one question; of a table that is not there, none."""
        try:
            found = self.connection.execute(question, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such" in str(error):  # an older run's database
                return []
            raise DamagedStateError(f"{self.folder / DATABASE} cannot be read: {error}") from None
        return [self._shown(dict(row)) for row in found]

    def run(self, **tables: Sequence[Row]) -> Run:
        """Return the run with some of its tables, as the report's sentences take it."""
        always = {"runs": "SELECT * FROM runs", "sites": "SELECT * FROM sites"}
        rows = {name: tuple(self.rows(question)) for name, question in always.items()}
        rows |= {name: tuple(found) for name, found in tables.items()}
        return Run(
            folder=self.folder,
            tables={name: rows.get(name, ()) for name in TABLES},
            task=self.task,
            contract=self._lettered(),
            comparison=read_comparison(self.folder),
            stated=read_facts(self.folder),
        )

    def rounds(self) -> list[Row]:
        """Return every round, in order."""
        return self.rows("SELECT * FROM rounds ORDER BY round")

    def turns(self) -> list[Row]:
        """Return the history without what rounds and replies say anyway, in order."""
        holes = ", ".join("?" * len(_TOLD))
        question = f"SELECT * FROM events WHERE kind NOT IN ({holes}) ORDER BY seq"  # noqa: S608
        return self.rows(question, *_TOLD)

    def lineage_events(self) -> list[Row]:
        """Return the events that move the model, in order."""
        kinds = "('committed', 'held', 'rolled-back')"
        return self.rows(f"SELECT * FROM events WHERE kind IN {kinds} ORDER BY seq")  # noqa: S608  # a constant

    def primary(self) -> str:
        """Return the metric that the plan names, or the one that was measured most often."""
        planned = self.task.analysis.primary if self.task else ""
        if self.rows("SELECT 1 FROM metrics WHERE metric = ? LIMIT 1", planned):
            return planned
        counted = self.rows(
            "SELECT metric, count(*) AS many FROM metrics WHERE model = 'global' "
            "AND site = 'macro' GROUP BY metric ORDER BY many DESC, metric"
        )
        present = [str(row["metric"]) for row in counted if row["metric"] not in COUNTS]
        return present[0] if present else planned

    def recent(self, metric: str, releases: int) -> list[Row]:
        """Return one metric's figures at its last releases, in order."""
        which = self.rows(
            "SELECT window, round FROM metrics WHERE metric = ? AND model = 'global' AND "  # noqa: S608  # our own words
            "split IN ('audit', 'window') GROUP BY window, round "
            f"ORDER BY {RELEASES}",
            metric,
        )[-releases:]
        wanted = {(row["window"], row["round"]) for row in which}
        rows = self.rows(
            "SELECT round, window, site, value, lo, hi FROM metrics WHERE round >= ? AND "  # noqa: S608  # our own words
            "metric = ? AND model = 'global' AND split IN ('audit', 'window') "
            f"ORDER BY {RELEASES}",
            min((row["round"] for row in which), default=0), metric,
        )  # fmt: skip
        return [row for row in rows if (row["window"], row["round"]) in wanted]

    def measured(self, metric: str, *, site: str = "") -> list[Row]:
        """Return one metric's figures over all releases, in order; of one site if it is named."""
        question = (
            "SELECT round, window, site, metric, value, lo, hi, n, method, model, split "
            "FROM metrics WHERE metric = ? AND model = 'global' AND split IN ('audit', 'window')"
        )
        if site:
            real = self._real(site)
            return self.rows(f"{question} AND site = ? ORDER BY {RELEASES}", metric, real)
        return self.rows(f"{question} ORDER BY {RELEASES}", metric)

    def cells(self, metric: str) -> list[tuple[str, str, int, float | None]]:
        """Return site, window, round and value of one metric over all releases, in order."""
        found = self.connection.execute(
            "SELECT site, window, round, value FROM metrics WHERE metric = ? AND "  # noqa: S608  # our own words
            f"model = 'global' AND split IN ('audit', 'window') ORDER BY {RELEASES}",
            (metric,),
        )
        return [(self.letters.get(site, site), *rest) for site, *rest in found]

    def curves(self, metric: str, shown: Sequence[str]) -> list[Row]:
        """Return one metric's figures after rounds, in order, of some sites and sums."""
        holes = ", ".join("?" * len(shown))
        return self.rows(
            f"SELECT round, site, value, lo, hi FROM metrics WHERE metric = ? AND window = '' "  # noqa: S608  # our own words
            f"AND model = 'global' AND split = 'audit' AND site IN ({holes}) ORDER BY round",
            metric, *map(self._real, shown),
        )  # fmt: skip

    def release(self, metric: str, number: int) -> dict[str, Row]:
        """Return one metric's figures after one round, by site or sum."""
        rows = self.rows(
            "SELECT round, site, value, lo, hi FROM metrics WHERE metric = ? AND window = '' "
            "AND model = 'global' AND split = 'audit' AND round = ?",
            metric, number,
        )  # fmt: skip
        return {str(row["site"]): row for row in rows}

    def replies_that_tell(self, since: int) -> list[Row]:
        """Return the replies that sentences about attendance need: few of a long history.

        All that were not as asked, all from a round on, and of the others the last one of each
        site and one of each round, so that it is known who was asked and when.
        """
        wanted = "round, phase, site, outcome, reason_code, bytes FROM replies"
        latest = wanted.replace("round", "max(round) AS round", 1)
        one = wanted.replace("site", "min(site) AS site", 1)
        return self.rows(
            f"SELECT {wanted} WHERE outcome <> 'done' OR round >= ? "  # our own words
            f"UNION SELECT {latest} GROUP BY phase, site UNION SELECT {one} GROUP BY phase, round",
            since,
        )

    def of_site(self, table: str, site: str, order: str, most: int = 1_000_000) -> list[Row]:
        """Return the rows of one table that name a site, the first ``most`` in an order."""
        question = f"SELECT * FROM {table} WHERE site = ? ORDER BY {order} LIMIT ?"  # noqa: S608  # our own words
        return self.rows(question, self._real(site), most)

    def _real(self, shown: str) -> str:
        return next((name for name, letter in self.letters.items() if letter == shown), shown)

    def _shown(self, row: Row) -> Row:
        if self.letters:
            for column in _NAMED:
                if row.get(column) in self.letters:
                    row[column] = self.letters[row[column]]
        return row

    def _lettered(self) -> Contract | None:
        if self.contract is None or not self.letters:
            return self.contract
        terms = {self.letters.get(name, name): one for name, one in self.contract.sites.items()}
        return replace(self.contract, sites=terms)


@contextmanager
def opened(folder: Path, *, letters_only: bool) -> Iterator[Book]:
    """Open a run for one page.

    Args:
        folder: The run's.
        letters_only: Whether the reader may know hospitals by letter alone, unless the contract
            says names. A simulation has no conditions and shows names.

    Raises:
        SettingsError: Its task or contract cannot be used.
        DamagedStateError: The database cannot be read.
    """
    task, contract = folder / "task.toml", folder / "contract.json"
    agreed = read_contract(contract) if contract.exists() else None
    try:
        connection = sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=5.0)
        connection.row_factory = sqlite3.Row
    except sqlite3.Error as error:
        raise DamagedStateError(f"{folder / DATABASE} cannot be opened: {error}") from None
    try:
        yield Book(
            folder=folder,
            connection=connection,
            task=read_task(task) if task.exists() else None,
            contract=agreed,
            letters=_letters(agreed) if letters_only else {},
        )
    except sqlite3.DatabaseError as error:
        raise DamagedStateError(f"{folder / DATABASE} cannot be read: {error}") from None
    finally:
        connection.close()


def _letters(contract: Contract | None) -> dict[str, str]:
    if contract is None or contract.conditions is None or contract.conditions.figures == "names":
        return {}
    return {name: spoken_label(terms.label) for name, terms in contract.sites.items()}
