"""The run's database: one SQLite file, written row by row as things happen.

WAL, every commit synced, the version in ``PRAGMA user_version``. Rows with the same key
replace each other, except events, which are only ever added. Reading gives pandas frames.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
from sqlalchemy import create_engine, event, insert, select, text, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from aggregator.tables import (
    SCHEMA,
    Answer,
    Event,
    Metric,
    Report,
    Round,
    Run,
    Site,
    Spent,
    Table,
)
from fedrad import durable
from fedrad.clock import Clock, SystemClock, stamp
from fedrad.errors import DamagedStateError, RunError
from fedrad.protocol.messages import Block

STATES = ("asked", "received", "folded", "committed", "evaluated", "void")


class Store:
    """The tables of one run folder, open for reading and writing."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Open ``path``, making the tables if the file is new.

        Raises:
            DamagedStateError: The file is not a run's database.
            RunError: A newer fedrad wrote it, or the disk refused.
        """
        self.path, self._clock = path, clock or SystemClock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        try:
            self._check_version()
        except OperationalError as error:
            self._engine.dispose()
            raise RunError(f"{path} cannot be opened or written: {error.orig}") from None
        except DatabaseError:
            self._engine.dispose()
            raise DamagedStateError(
                f"{path} is not a run's database; restore it or start a new run folder"
            ) from None

    def __enter__(self) -> Store:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the store can no longer be used."""
        self._engine.dispose()

    def record(self, rows: Iterable[Table]) -> None:
        """Write rows in one synced transaction, each replacing the row with its key."""
        by_table: dict[type[Table], list[dict[str, Any]]] = {}
        for row in rows:
            by_table.setdefault(type(row), []).append(_values(row))
        if by_table:
            with self._engine.begin() as connection:
                for table, values in by_table.items():
                    connection.execute(insert(table).prefix_with("OR REPLACE"), values)

    def record_run(self, run: Run) -> None:
        """Write the run's line and the event that opens the history."""
        self.record([run, self._event("run-started", detail={"run": run.run})])

    def resume_run(self, run: str) -> None:
        """Open the line of a run that was cut again."""
        values = {"status": "running", "reason": "", "ended": ""}
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.run == run).values(**values))
            self._add(connection, self._event("run-resumed", detail={"run": run}))

    def end_run(self, run: str, *, status: str, reason: str) -> None:
        """Close the run's line: ``status`` done, stopped, failed or interrupted."""
        detail = {"status": status, "reason": reason}
        values = detail | {"ended": stamp(self._clock)}
        with self._engine.begin() as connection:
            connection.execute(update(Run).where(Run.run == run).values(**values))
            self._add(connection, self._event("run-ended", detail=detail))

    def record_sites(self, sites: Iterable[Site]) -> None:
        """Write the sites, one row each."""
        self.record(sites)

    def record_site(
        self,
        row: Site,
        kind: str,
        round_number: int = 0,
        *,
        detail: Any = None,
        also: Iterable[Table] = (),
    ) -> None:
        """Write what a site's row becomes, with the line of the history that says why."""
        line = self._event(kind, round_number, site=row.site, detail=detail)
        self.record([row, line, *also])

    def start_round(self, round_number: int) -> None:
        """Open a round in the state ``asked``; a void round of that number is replaced."""
        row = Round(round=round_number, state="asked", started=stamp(self._clock))
        self.record([row, self._event("asked", round_number)])

    def record_round(self, round_number: int, state: str, **columns: str) -> None:
        """Move a round to ``state`` and set further columns of its row.

        Raises:
            RunError: The round was not started, or the state is unknown or a step back.
        """
        with self._engine.begin() as connection:
            self._move(connection, round_number, state, **columns)

    def hold_round(
        self, round_number: int, kind: str, *, detail: Any, also: Iterable[Table] = ()
    ) -> None:
        """Move a round to ``evaluated`` with the event that takes its model back, all or none.

        Raises:
            RunError: As for ``record_round``.
        """
        with self._engine.begin() as connection:
            self._move(connection, round_number, "evaluated")
            self._add(connection, self._event(kind, round_number, detail=detail))
            for row in also:
                connection.execute(insert(type(row)).prefix_with("OR REPLACE"), _values(row))

    def lose_rounds(self, first: int, *, problem: str) -> list[int]:
        """Make round ``first`` and all later ones void: what they made cannot be read.

        What they cost stays recorded.

        Returns:
            The rounds that were not void before.
        """
        with self._engine.begin() as connection:
            which = select(Round.round).where(Round.round >= first, Round.state != "void")
            lost = list(connection.execute(which.order_by(Round.round)).scalars())
            for number in lost:
                this = Round.round == number
                connection.execute(update(Round).where(this).values(state="void"))
                self._add(connection, self._event("lost", number, detail={"problem": problem}))
        return lost

    def record_reply(
        self,
        answer: Answer,
        also: Iterable[Table] = (),
        *,
        ledger_lines: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Write one site's answer and the rows that came with it, all or none.

        The reply's id is the row's key: the same answer is never counted twice. Ledger
        lines that the reply told are kept word for word in the history.
        """
        detail = {
            "phase": answer.phase,
            "outcome": answer.outcome,
            "reason": answer.reason_code,
            "reply_id": answer.reply_id,
            "ledger_lines": list(ledger_lines),
        }
        line = self._event("reply", answer.round, site=answer.site, detail=detail)
        self.record([answer, line, *also])

    def record_fold(
        self,
        round_number: int,
        weights: dict[str, float],
        *,
        accepted: str,
        model: str,
        late: Collection[str] = (),
    ) -> None:
        """Move a round to ``folded``, with its digests and each site's share, all or none.

        ``late`` are the sites whose share is that of an earlier round's update.
        """
        with self._engine.begin() as connection:
            for site, weight in weights.items():
                phase = "late" if site in late else "train"
                this = (Answer.round == round_number, Answer.phase == phase, Answer.site == site)
                connection.execute(update(Answer).where(*this).values(weight=weight))
            digests = {"accepted_digest": accepted, "model_digest": model}
            self._move(connection, round_number, "folded", **digests)

    def record_metric(self, rows: Iterable[Metric]) -> None:
        """Write figures; one with the same key is replaced."""
        self.record(rows)

    def record_privacy(self, rows: Iterable[Spent]) -> None:
        """Write privacy events with the totals after them."""
        self.record(rows)

    def record_event(
        self,
        kind: str,
        round_number: int = 0,
        *,
        site: str = "",
        detail: Any = None,
        also: Iterable[Table] = (),
    ) -> None:
        """Add one line to the history, with the rows that belong to it, all or none."""
        self.record([self._event(kind, round_number, site=site, detail=detail), *also])

    def frame(self, table: str) -> pd.DataFrame:
        """Return a whole table, sorted by its columns from left to right.

        Raises:
            RunError: There is no such table.
        """
        source = Table.metadata.tables.get(table)
        if source is None:
            raise RunError(f"there is no table {table!r}; there are {', '.join(table_names())}")
        rows = select(source).order_by(*source.columns)
        with self._engine.connect() as connection:
            return pd.read_sql_query(rows, connection)

    def rows(self, table: str, **equal: str | int) -> list[dict[str, Any]]:
        """Return the rows of a table whose columns have these values, as ``frame`` sorts them."""
        source = Table.metadata.tables[table]
        wanted = [source.columns[name] == value for name, value in equal.items()]
        with self._engine.connect() as connection:
            found = connection.execute(select(source).where(*wanted).order_by(*source.columns))
            return [dict(row) for row in found.mappings()]

    def write_metrics_csv(self, path: Path) -> None:
        """Write the table ``metrics`` as ``metrics.csv``, durably."""
        durable.write_bytes(path, self.frame("metrics").to_csv(index=False).encode("utf-8"))

    def write_history(self, path: Path) -> None:
        """Write the table ``events`` durably, one JSON object a line.

        Each carries the hash of the one before, as a site's own record does: SHA-256 over
        the canonical object without ``hash``. Events are only ever added, so a later file
        begins with the bytes of an earlier one.
        """
        lines, head = [], ""
        for row in self.frame("events").to_dict("records"):
            line = {**row, "detail": json.loads(row["detail_json"]), "prev": head}
            del line["detail_json"]
            head = hashlib.sha256(durable.canonical_json(line)).hexdigest()
            lines.append(durable.canonical_json({**line, "hash": head}) + b"\n")
        durable.write_bytes(path, b"".join(lines))

    def _event(
        self, kind: str, round_number: int = 0, *, site: str = "", detail: Any = None
    ) -> Event:
        return Event(
            time=stamp(self._clock),
            kind=kind,
            round=round_number,
            site=site,
            detail_json=durable.canonical_json(detail or {}).decode("utf-8"),
        )

    def _move(self, connection: Connection, round_number: int, state: str, **columns: str) -> None:
        this = Round.round == round_number
        old = connection.execute(select(Round.state).where(this)).scalar()
        if old is None or not _may_follow(old, state):
            was = "not started" if old is None else old
            raise RunError(f"round {round_number} is {was} and cannot become {state!r}")
        ended = {"ended": stamp(self._clock)} if state in ("committed", "void") else {}
        values = {"state": state, **columns, **ended}
        connection.execute(update(Round).where(this).values(**values))
        self._add(connection, self._event(state, round_number, detail=columns))

    def _add(self, connection: Connection, row: Table) -> None:
        connection.execute(insert(type(row)), _values(row))

    def _check_version(self) -> None:
        with self._engine.begin() as connection:
            version = int(connection.execute(text("PRAGMA user_version")).scalar_one())
            if version > SCHEMA:
                raise RunError(
                    f"{self.path} has schema {version}, this fedrad reads {SCHEMA}; update fedrad"
                )
            if version == 0:
                Table.metadata.create_all(connection)
                connection.execute(text(f"PRAGMA user_version = {SCHEMA}"))


def _values(row: Table) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}


def report_rows(
    round_number: int, site: str, *, model_digest: str, blocks: Iterable[Block], window: str = ""
) -> Iterator[Report]:
    """Yield a row for every value of a site's sums; NaN becomes null."""
    for block in blocks:
        for index, value in enumerate(block.values):
            yield Report(
                round=round_number,
                window=window,
                site=site,
                model_digest=model_digest,
                block=block.name,
                idx=index,
                value=None if math.isnan(value) else float(value),
                sigma=block.sigma,
                sensitivity=block.sensitivity,
            )


def table_names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(sorted(Table.metadata.tables))


def _may_follow(old: str, new: str) -> bool:
    if new == "void":
        return old in ("asked", "received", "folded", "void")
    return new in STATES and old in STATES and STATES.index(old) <= STATES.index(new)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durably(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
