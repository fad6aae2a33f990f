"""Studies under way, so that one whose program died is begun again in its round.

A program that a signal ended (kill -9, no memory left, the death of the server that started
it) told nobody why, and neither did one whose run Flower gave up while its server was away: such
a study is begun again at once, as a new run of Flower's, and the old one is stopped. Waits
double from the second death on. A program that wrote down why it ended is left alone; so is one
that died too often without finishing a round, with that reason. A server that is stopped in
order forgets what was under way: a person begins it again.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from aggregator.begin import alone_in
from aggregator.checkpoints import latest_round
from aggregator.deployment.superlink import FOLDER, control
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from fedrad import durable
from fedrad.errors import RunError
from fedrad.flower.tasks import UNREACHABLE
from fedrad.protocol.messages import SCHEMA

NOTE = "under-way.json"
MOST = 6  # deaths in a row, with no round finished in between
_ENDED = ("done", "stopped", "interrupted")
_LONGEST_S = 16.0  # Flower gives a run up after 60 s without its program
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A study that a program runs, or ran when it died."""

    run: int  # Flower's number of its run
    deaths: int = 0
    round: int = 0  # the last finished round at the last death

    @property
    def wait_s(self) -> float:
        """How long to wait before it is begun again."""
        return 0.0 if self.deaths < 2 else min(2.0 ** (self.deaths - 2), _LONGEST_S)


def read_under_way(home: Path) -> dict[str, UnderWay]:
    """Return the studies under way; none if the note is not there or not whole."""
    try:
        table = json.loads((home / FOLDER / NOTE).read_bytes())
        return {name: UnderWay(**entry) for name, entry in table.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def forget(home: Path) -> None:
    """Forget what is under way: the server is stopped in order."""
    (home / FOLDER / NOTE).unlink(missing_ok=True)


class Again:
    """Begins studies again; ``tend`` is called now and then."""

    def __init__(self, home: Path) -> None:
        """Plan to begin again what was under way when the last server died."""
        self._home, self._control = home, control(home)
        self._due_s: dict[str, float] = {}
        for study in read_under_way(home):
            self._died(study)

    def begun(self, run_id: int) -> None:
        """Note that a run's program is started."""
        with suppress(*UNREACHABLE):
            studies = {run.run_id: run.study for run in self._control.runs()}
            before = read_under_way(self._home)
            if study := studies.get(run_id, ""):
                old = before.get(study, UnderWay(run=run_id))
                now = UnderWay(run=run_id, deaths=old.deaths, round=old.round)
                self._write(before | {study: now})

    def ended(self, run_id: int, *, killed: bool) -> str:
        """Note that a run's program ended; return why it is not begun again, or nothing.

        Args:
            run_id: Flower's number of the run.
            killed: A signal ended it.
        """
        found = {name for name, one in read_under_way(self._home).items() if one.run == run_id}
        if not found:
            return "the study's program died"
        study = found.pop()
        if killed or not _said_why(run_folder(self._home, study)):
            return self._died(study)
        self._forget(study)
        return ""

    def tend(self) -> None:
        """Begin what is due."""
        for study, due_s in tuple(self._due_s.items()):
            if time.monotonic() >= due_s and _is_free(run_folder(self._home, study)):
                with suppress(*UNREACHABLE):  # the server is being restarted
                    self._begin(study)

    def close(self) -> None:
        """Close the connection; what is under way stays noted."""
        self._control.close()

    def _died(self, study: str) -> str:
        under_way = read_under_way(self._home)
        old, now = under_way[study], latest_round(run_folder(self._home, study)) or 0
        deaths = 1 if now > old.round else old.deaths + 1
        if deaths > MOST:
            self._forget(study)
            return f"its program died {MOST} times in a row and no round was finished in between"
        new = UnderWay(run=old.run, deaths=deaths, round=now)
        self._write(under_way | {study: new})
        self._due_s[study] = time.monotonic() + new.wait_s
        _log.warning("a study's program died; it is begun again in %.0f s", new.wait_s)
        return ""

    def _begin(self, study: str) -> None:
        """Start a run in the place of one that died, unless a person has stopped that one."""
        under_way = read_under_way(self._home)
        old = under_way[study]
        outcome = {run.run_id: run.outcome for run in self._control.runs()}.get(old.run, "")
        if outcome == "stopped":
            self._forget(study)
            return
        new = self._control.start_run(study, SCHEMA)
        del self._due_s[study]
        self._write(under_way | {study: UnderWay(run=new, deaths=old.deaths, round=old.round)})
        with suppress(*UNREACHABLE):  # it has ended already
            self._control.stop_run(old.run)
        _log.warning("run %d goes on with what run %d began", new, old.run)

    def _forget(self, study: str) -> None:
        self._due_s.pop(study, None)
        left = {name: one for name, one in read_under_way(self._home).items() if name != study}
        self._write(left)

    def _write(self, under_way: dict[str, UnderWay]) -> None:
        table = {name: asdict(one) for name, one in under_way.items()}
        durable.write_json(self._home / FOLDER / NOTE, table)


def _said_why(folder: Path) -> bool:
    """Whether the program of a run folder wrote down how it ended."""
    if not (folder / DATABASE).is_file():
        return True  # it said so to Flower, before its first round
    with Store(folder / DATABASE) as store:
        rows = store.rows("runs")
    return all(row["status"] in _ENDED or row["reason"] for row in rows)


def _is_free(folder: Path) -> bool:
    """Whether no program runs the rounds of a folder any more."""
    try:
        with alone_in(folder):
            return True
    except RunError:
        return False
