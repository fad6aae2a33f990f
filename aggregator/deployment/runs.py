"""What a person does with a coordinator that runs: start a study, look, stop.

Every function speaks to the server of the home given, on this machine; none needs a
hospital's help.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from aggregator.authority import LOOPBACK, SERVER, last_day
from aggregator.deployment.again import read_under_way
from aggregator.deployment.greetings import differences, read_greetings
from aggregator.deployment.launcher import LOG
from aggregator.deployment.state import is_running, read_note
from aggregator.deployment.superlink import FOLDER, control
from aggregator.home import key_path, read_coordinator
from aggregator.lineage import standing_round
from aggregator.quarantine import QUARANTINED
from aggregator.registry import read_sites
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import Study, read_study, run_folder, study_names
from aggregator.windows import COMPARISON, WINDOWS
from fedrad.errors import RunError, SettingsError, UnreachableError
from fedrad.flower.control import FlowerRun
from fedrad.flower.tasks import COMPLETED, UNREACHABLE
from fedrad.processes import Child, Plan
from fedrad.protocol.messages import SCHEMA
from fedrad.task import read_task, task_hash

_START = "from aggregator.cli import app; app()"
_READY_S, _LOOK_S = 120.0, 0.5
FINISHED = "finished"


def study_for(home: Path, name: str, task: Path | None) -> Study:
    """Return the study of this name, or the one study of this task.

    Raises:
        SettingsError: There is none, or several studies are of the task.
    """
    if name:
        return read_study(home, name)
    studies = [read_study(home, known) for known in study_names(home)]
    if task is not None:
        wanted = task_hash(read_task(task))
        studies = [study for study in studies if study.contract.task_hash == wanted]
    if len(studies) == 1:
        return studies[0]
    known = ", ".join(study.name for study in studies) or "none"
    line = f"name one study; {'of this task ' if task else ''}there are: {known}"
    raise SettingsError("--study", (line,))


@contextmanager
def server_up(home: Path) -> Iterator[bool]:
    """Have a server: the one that runs, or one of our own until the end; which, is told.

    One that was just started is waited for.

    Raises:
        UnreachableError: It did not open in time.
    """
    if is_running(home):
        _wait_until_open(home, home / FOLDER, lambda: is_running(home))
        yield False
        return
    command = (sys.executable, "-c", _START, "start", "--home", str(home))
    log = home / FOLDER / "server.log"
    child = Child(Plan(name="server", command=command, log=log, grace_s=30.0))
    try:
        _wait_until_open(home, log, lambda: child.alive)
        yield True
    finally:
        child.end()


def begin(home: Path, study: Study) -> int:
    """Start a run of the study at the server that runs; return its number.

    A study that is under way is not started twice: its run's number is returned.

    Raises:
        UnreachableError: The server does not answer.
        RunError: Its rounds are over, or too many of its sites said that they speak another
            wire protocol.
    """
    _refuse_finished(home, study)
    _refuse_too_few(home, study)
    if study.name in (under_way := read_under_way(home)):
        return under_way[study.name].run
    connection = control(home)
    try:
        return connection.start_run(study.name, SCHEMA)
    except UNREACHABLE as error:
        raise UnreachableError(f"the server of {home} does not answer: {error}") from None
    finally:
        connection.close()


def _refuse_finished(home: Path, study: Study) -> None:
    folder = run_folder(home, study.name)
    if not (folder / DATABASE).is_file():
        return
    with Store(folder / DATABASE) as store:
        over = any(row["status"] == "done" for row in store.rows("runs"))
    if over:
        raise RunError(
            f"the rounds of {study.name} are over, see {folder / 'report.html'}; "
            "more rounds need a new study: fedrad-aggregator enrol --study ANOTHER-NAME"
        )


def begin_watch(home: Path, study: Study) -> int:
    """Start collecting a study's windows at the server that runs; return the run's number.

    Raises:
        UnreachableError: The server does not answer.
        RunError: The study trains: its rounds and its windows have one folder.
    """
    return _begin_after(home, study, WINDOWS)


def begin_compare(home: Path, study: Study, number: int) -> int:
    """Start the comparison of a round's model with the one in use; as ``begin_watch``."""
    return _begin_after(home, study, f"{COMPARISON}{number}")


def _begin_after(home: Path, study: Study, what: str) -> int:
    if study.name in read_under_way(home):
        raise RunError(f"{study.name} is under way; ask again when its rounds are over")
    connection = control(home)
    try:
        return connection.start_run(study.name + what, SCHEMA)
    except UNREACHABLE as error:
        raise UnreachableError(f"the server of {home} does not answer: {error}") from None
    finally:
        connection.close()


def warnings(home: Path, study: Study) -> list[str]:
    """Return a sentence for each site of the study that cannot answer this coordinator."""
    return list(differences(home, sorted(study.contract.sites)).values())


def follow(home: Path, run_id: int, say: Callable[[str], None]) -> FlowerRun:
    """Tell the run's log line by line until the run has ended; return how.

    A run that was begun again, because its program died, is followed into the new one.

    Raises:
        RunError: The server was stopped before.
    """
    connection, lines = control(home), _new_lines(home / FOLDER / LOG)
    try:
        while True:
            run = _last_of(connection, run_id)
            for line in next(lines):
                say(line)
            if run is not None and run.status == FINISHED:
                return run
            if not is_running(home):
                raise RunError("the server was stopped; the run can be taken up again")
            time.sleep(_LOOK_S)
    finally:
        connection.close()


def tail(path: Path, say: Callable[[str], None], *, last: int, until: Callable[[], bool]) -> None:
    """Tell the last lines of a log, and new ones as they come until ``until`` says so."""
    if path.exists():
        for line in path.read_text("utf-8", "replace").splitlines()[-last:]:
            say(line)
    lines = _new_lines(path)
    next(lines)
    while not until():
        for line in next(lines):
            say(line)
        time.sleep(_LOOK_S)


def stop_server(home: Path, *, wait_s: float = 60.0) -> bool:
    """Ask the server to end and wait for it; whether there was one.

    Raises:
        UnreachableError: It did not end in time.
    """
    pid = int(read_note(home).get("pid", 0))
    if not is_running(home) or not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    end_s = time.monotonic() + wait_s
    while is_running(home):
        if time.monotonic() > end_s:
            raise UnreachableError(f"process {pid} has not ended after {wait_s:.0f} s")
        time.sleep(_LOOK_S)
    return True


def stop_run(home: Path, run_id: int) -> None:
    """Stop one run; what was finished stays.

    Raises:
        UnreachableError: The server does not answer, or knows no such run that runs.
    """
    connection = control(home)
    try:
        connection.stop_run(run_id)
    except UNREACHABLE as error:
        raise UnreachableError(f"run {run_id} cannot be stopped: {error}") from None
    finally:
        connection.close()


def _own_last_day(home: Path) -> datetime:
    """Return when the first of the servers' own certificates ends."""
    return min(last_day(key_path(home, name).read_text("ascii")) for name in (SERVER, LOOPBACK))


def sites_table(home: Path) -> list[dict[str, Any]]:
    """Return every hospital: enrolled or revoked, there or not, until when its certificate is."""
    online, heard = _online(home), read_greetings(home)
    trouble = differences(home, heard)
    return [
        {
            "site": name,
            "kind": site.kind,
            "status": site.status,
            "node": online.get(name, "unknown" if online is _UNKNOWN else "not registered"),
            "certificate_until": last_day(site.certificate).date().isoformat(),
            "fedrad": heard[name].speaker.release if name in heard else site.fedrad_version,
            "wire": heard[name].speaker.wire if name in heard else None,
            "greeted": heard[name].time if name in heard else None,
            "trouble": trouble.get(name, ""),
        }
        for name, site in read_sites(home).items()
    ]


def status_table(home: Path) -> dict[str, Any]:
    """Return whether the server runs, its runs, hospitals and studies.

    Raises:
        SettingsError: The folder is no coordinator's home.
    """
    read_coordinator(home)
    running = is_running(home)
    return {
        "running": running,
        "state": read_note(home).get("state", "") if running else "stopped",
        "pid": read_note(home).get("pid") if running else None,
        "certificates_until": _own_last_day(home).date().isoformat(),
        "runs": _runs(home) if running else [],
        "sites": sites_table(home),
        "studies": [_study_line(home, name) for name in study_names(home)],
    }


def _refuse_too_few(home: Path, study: Study) -> None:
    against, trainers = differences(home, study.contract.trainers), study.contract.trainers
    left, quorum = len(trainers) - len(against), study.task.federation.quorum
    if against and left < quorum:
        why = "; ".join(against.values())
        raise RunError(f"{left} sites could answer and a round needs {quorum}: {why}")


_UNKNOWN: dict[str, str] = {}


def _online(home: Path) -> dict[str, str]:
    if not is_running(home):
        return _UNKNOWN
    connection = control(home)
    try:
        return {node.name: node.status for node in connection.nodes()}
    except UNREACHABLE:
        return _UNKNOWN
    finally:
        connection.close()


def _runs(home: Path) -> list[dict[str, Any]]:
    connection = control(home)
    try:
        runs = connection.runs()
    except UNREACHABLE:
        return []
    finally:
        connection.close()
    return [
        {"run": run.run_id, "status": run.status, "outcome": run.outcome, "details": run.details}
        for run in runs
    ]


def _study_line(home: Path, name: str) -> dict[str, Any]:
    from aggregator.checkpoints import latest_round

    folder, study = run_folder(home, name), read_study(home, name)
    done = latest_round(folder) or 0 if folder.exists() else 0
    table = {"study": name, "sites": sorted(study.contract.sites), "round": done}
    table |= {"rounds": study.task.federation.rounds}
    return table | {"stands_on": standing_round(folder), "quarantined": _quarantined(folder)}


def _quarantined(folder: Path) -> list[str]:
    if not (folder / DATABASE).is_file():
        return []
    with Store(folder / DATABASE) as store:
        return sorted(str(row["site"]) for row in store.rows("sites", status=QUARANTINED))


def _last_of(connection: Any, run_id: int) -> FlowerRun | None:
    """Return a run, or the last of its study that was begun after it ended without completing."""
    try:
        runs = connection.runs()
    except UNREACHABLE:
        return None  # it is being restarted
    places = [place for place, run in enumerate(runs) if run.run_id == run_id]
    if not places:
        return None
    first: FlowerRun = runs[places[0]]
    if first.status != FINISHED or first.outcome == COMPLETED:
        return first
    later = [run for run in runs[places[0] + 1 :] if run.study == first.study]
    return later[-1] if later else first


def _wait_until_open(home: Path, log: Path, lives: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _READY_S
    while not (is_running(home) and read_note(home).get("state") == "open"):
        if not lives():
            raise UnreachableError(f"the server ended at once; {log} says why")
        if time.monotonic() > end_s:
            raise UnreachableError(f"the server did not open in {_READY_S:.0f} s; see {log}")
        time.sleep(_LOOK_S / 2)


def _new_lines(path: Path) -> Iterator[list[str]]:
    """Yield, each time it is asked, the lines that were appended since."""
    where = path.stat().st_size if path.exists() else 0
    rest = ""
    while True:
        if path.exists():
            if path.stat().st_size < where:  # it was shortened
                where = 0
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(where)
                rest += file.read()
                where = file.tell()
        *whole, rest = rest.split("\n")
        yield whole
