"""The run's database: one SQLite file, written row by row as things happen.

WAL, every commit synced, the version in ``PRAGMA user_version``. Rows with the same key
replace each other, except events, which are only ever added. Reading gives pandas frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

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
            RunError: A newer fedrad wrote it.
        """
        self.path, self._clock = path, clock or SystemClock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        try:
            self._check_version()
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
        with Session(self._engine) as session, session.begin():
            for row in rows:
                session.merge(row)

    def record_run(self, run: Run) -> None:
        """Write the run's line and the event that opens the history."""
        self.record([run, self._event("run-started", detail={"run": run.run})])

    def end_run(self, run: str, *, status: str, reason: str) -> None:
        """Close the run's line: ``status`` done, stopped, failed or interrupted."""
        ended = stamp(self._clock)
        with Session(self._engine) as session, session.begin():
            values = {"ended": ended, "status": status, "reason": reason}
            session.execute(update(Run).where(Run.run == run).values(**values))
            session.add(self._event("run-ended", detail={"status": status, "reason": reason}))

    def record_sites(self, sites: Iterable[Site]) -> None:
        """Write the sites, one row each."""
        self.record(sites)

    def start_round(self, round_number: int) -> None:
        """Open a round in the state ``asked``; a void round of that number is replaced."""
        row = Round(round=round_number, state="asked", started=stamp(self._clock))
        self.record([row, self._event("asked", round_number)])

    def record_round(self, round_number: int, state: str, **columns: str) -> None:
        """Move a round to ``state`` and set further columns of its row.

        Raises:
            RunError: The round was not started, or the state is unknown or a step back.
        """
        with Session(self._engine) as session, session.begin():
            row = session.get(Round, round_number)
            if row is None or not _may_follow(row.state, state):
                was = "not started" if row is None else row.state
                raise RunError(f"round {round_number} is {was} and cannot become {state!r}")
            row.state = state
            for name, value in columns.items():
                setattr(row, name, value)
            if state in ("committed", "void"):
                row.ended = stamp(self._clock)
            session.add(self._event(state, round_number, detail=columns))

    def record_reply(self, answer: Answer) -> None:
        """Write one site's answer; an answer with the same id is never counted twice."""
        detail = {
            "phase": answer.phase,
            "outcome": answer.outcome,
            "reason": answer.reason_code,
            "reply_id": answer.reply_id,
        }
        self.record([answer, self._event("reply", answer.round, site=answer.site, detail=detail)])

    def has_reply(self, reply_id: str) -> bool:
        """Whether this answer was recorded before."""
        with Session(self._engine) as session:
            return session.get(Answer, reply_id) is not None

    def record_weights(self, round_number: int, weights: dict[str, float]) -> None:
        """Write the shares with which the round's updates were folded."""
        with Session(self._engine) as session, session.begin():
            for site, weight in weights.items():
                this = (Answer.round == round_number, Answer.phase == "train", Answer.site == site)
                session.execute(update(Answer).where(*this).values(weight=weight))

    def record_report(
        self, round_number: int, site: str, *, model_digest: str, blocks: Iterable[Block]
    ) -> None:
        """Write every value of a site's sums."""
        self.record(
            Report(
                round=round_number,
                site=site,
                model_digest=model_digest,
                block=block.name,
                idx=index,
                value=float(value) if value == value else None,  # noqa: PLR0124  # NaN
                sigma=block.sigma,
                sensitivity=block.sensitivity,
            )
            for block in blocks
            for index, value in enumerate(block.values)
        )

    def record_metric(self, rows: Iterable[Metric]) -> None:
        """Write figures; one with the same key is replaced."""
        self.record(rows)

    def record_privacy(self, rows: Iterable[Spent]) -> None:
        """Write privacy events with the totals after them."""
        self.record(rows)

    def record_event(
        self, kind: str, round_number: int = 0, *, site: str = "", detail: Any = None
    ) -> None:
        """Add one line to the history."""
        with Session(self._engine) as session, session.begin():
            session.add(self._event(kind, round_number, site=site, detail=detail))

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

    def write_metrics_csv(self, path: Path) -> None:
        """Write the table ``metrics`` as ``metrics.csv``, durably."""
        durable.write_bytes(path, self.frame("metrics").to_csv(index=False).encode("utf-8"))

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


def table_names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(sorted(Table.metadata.tables))


def _may_follow(old: str, new: str) -> bool:
    if new == "void":
        return old in ("asked", "received", "void")
    return new in STATES and old in STATES and STATES.index(old) <= STATES.index(new)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durably(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
