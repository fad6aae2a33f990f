"""Forty faults on real processes: a coordinator and three hospitals over mutual TLS, one study.

One fault after the other strikes the running study, each at a point or an instant of its own:
SIGKILL at a named sync or rename of the coordinator's program and of a site's runner, at an
instant of the round for the programs that write nothing of ours (SuperLink, node, servers);
bad lines through ``simulations/faults/proxy.py`` for all hospitals; full disks; bytes flipped
in checkpoints and ledgers; clocks that are wrong by an hour. With three sites and a quorum of
three a further committed round shows that everybody is back. After each fault, and at the end,
the promises I1 to I6 are checked on tables, files and ledgers, and I7 with the patients' names
of the archives. Times are from the fault to what the column says. Run:

    python benchmarks/real_faults.py
    python benchmarks/real_faults.py --only runner     # those whose name holds a text
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "studies"))

from deployed import PROGRAM, SITES, STUDY, Federation, command_lines, make_homes
from real_history import problems_at_end, problems_of

from aggregator.checkpoints import latest_round, round_folder
from aggregator.deployment.superlink import control
from aggregator.home import read_coordinator
from aggregator.run_folder import DATABASE
from aggregator.studies import run_folder
from fedrad.processes import free_port
from simulations.faults.proxy import FaultyLine

POINTS = Path(__file__).resolve().parent / "real_points"
ROUNDS, LONGEST_S, LOOK_S = 100, 400.0, 0.2
SETTINGS = (
    f"federation.rounds={ROUNDS}", f"federation.spare_rounds={ROUNDS}",
    "federation.deadline_s=120", "privacy.noise_multiplier=40.0", "evaluation.every_rounds=1000",
)  # fmt: skip
PROGRAMS = {"study": ("study_process",), "runner": ("node.runner",), "node": ("node.connector",)}
PROGRAMS |= {"superlink": ("deployment.superlink",)}


class Stage:
    """The running federation, its line, and what was done to it."""

    def __init__(self, folder: Path) -> None:
        self.orders = folder / "orders"
        self.orders.mkdir()
        os.environ["REAL_FAULTS"] = str(self.orders)
        before = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(POINTS), before)))
        (folder / "all").mkdir()
        homes = make_homes(folder / "all", *SETTINGS)
        self.line = _behind_a_line(homes.hub)
        self.federation = Federation(homes)
        self.federation.open()
        self.federation.until_online(wait_s=LONGEST_S)
        self.hub, self.run = homes.hub, run_folder(homes.hub, STUDY)
        self.sites, self.study = SITES, STUDY
        self.damaged: dict[Path, bytes] = {}
        self.again: dict[tuple[str, str], int] = {}  # answers that were begun more than once
        self.said: list[str] = []  # how runs ended before the last
        self.command = self._begin()

    def close(self) -> None:
        """End everything."""
        self.command.kill()
        self.command.wait()
        for name, child in tuple(self.federation.children.items()):
            if not child.alive:
                self.federation.children.pop(name)
        self.federation.close()
        self.line.close()

    def tend(self) -> None:
        """Be the person who calls ``run`` again when a run has ended with a reason."""
        if self.command.poll() is not None and self.committed < ROUNDS:
            self.said.append(self._last_words())
            self.command = self._begin()

    def until(self, holds: Callable[[], object], wait_s: float = LONGEST_S) -> float:
        """Wait until something holds; return the seconds, or -1 if it does not come."""
        begun = time.monotonic()
        while time.monotonic() - begun < wait_s:
            with suppress(OSError):  # a file is just being replaced
                if holds():
                    return time.monotonic() - begun
            self.tend()
            time.sleep(LOOK_S)
        return -1.0

    @property
    def committed(self) -> int:
        """Rounds that made a model."""
        return self.count("select count(*) from rounds where state in ('committed', 'evaluated')")

    def count(self, question: str) -> int:
        """Return one number of the run's tables."""
        try:
            with closing(
                sqlite3.connect(f"file:{self.run / DATABASE}?mode=ro", uri=True)
            ) as tables:
                return int(tables.execute(question).fetchone()[0])
        except (sqlite3.Error, TypeError):
            return 0

    def events(self, kind: str) -> int:
        """Return how many events of a kind there are."""
        return self.count(f"select count(*) from events where kind = '{kind}'")  # noqa: S608

    def pids(self, program: str, site: str = "") -> set[int]:
        """Return the processes of a program."""
        if program == "study":
            return set(self.federation.study_pids())
        own = str(self.federation.homes.home(site) if site else self.federation.homes.folder)
        words = (*PROGRAMS[program], own)
        return {pid for pid, line in command_lines() if all(word in line for word in words)}

    def kill(self, program: str, site: str = "") -> None:
        """End a program now."""
        for pid in self.pids(program, site):
            os.kill(pid, signal.SIGKILL)

    def order(self, program: str, site: str = "", **what: object) -> Path:
        """Order something for a program; return what is there once it happened."""
        own = [str(self.federation.homes.home(site))] if site else []
        path = self.orders / f"{program}{site}.json"
        path.write_text(json.dumps({"program": [*PROGRAMS[program], *own], **what}))
        return path.with_suffix(".fired")

    def cancel(self) -> None:
        """Take all orders back."""
        for path in self.orders.iterdir():
            path.unlink()

    def restart(self, name: str) -> None:
        """Kill a command ``start`` and start it again when nothing is left of it."""
        home = self.hub if name == "hub" else self.federation.homes.home(name)
        child = self.federation.children.pop(name)
        child.process.kill()
        child.process.wait()
        self.until(lambda: not self.federation.pids(str(home)), 60)
        self.federation.start(name, "aggregator" if name == "hub" else "site_client", home)

    def _begin(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", PROGRAM.format(module="aggregator"), "run"]
        log = (self.federation.homes.folder / "run.log").open("a")
        return subprocess.Popen([*words, "--home", str(self.hub)], stdout=log, stderr=log)

    def _last_words(self) -> str:
        lines = (self.federation.homes.folder / "run.log").read_text().splitlines()
        return lines[-1][:160] if lines else "nothing"


def _behind_a_line(hub: Path) -> FaultyLine:
    """Let the gateway listen elsewhere, and a bad line where hospitals look for it."""
    path, listen = hub / "aggregator.toml", read_coordinator(hub).gateway.listen
    port, behind = int(listen.rpartition(":")[2]), free_port()
    path.write_text(re.sub(rf"127\.0\.0\.1:{port}\b", f"127.0.0.1:{behind}", path.read_text()))
    return FaultyLine("127.0.0.1", behind, at=port)


@dataclass(frozen=True)
class Fault:
    """One fault: how it strikes, and what tells that its program is back."""

    name: str
    strike: Callable[[Stage], Callable[[], object]]  # returns what tells that it is back
    site: str = ""  # whose charges may be repeated
    mend: Callable[[Stage], None] = field(default=Stage.cancel)


def in_a_round(stage: Stage) -> None:
    """Wait until the sites have a question."""
    number = "(select max(round) from rounds)"
    stage.until(
        lambda: stage.count(
            f"select count(*) from rounds where round = {number} and state = 'asked'"  # noqa: S608
        )
    )


def program_at(point: str, path: str, nth: int = 1) -> Callable[[Stage], Callable[[], object]]:
    """The coordinator's program ends at a named point."""

    def strike(stage: Stage) -> Callable[[], object]:
        fired = stage.order("study", fault="kill", point=point, path=path, nth=nth)
        before = stage.events("run-resumed")
        stage.until(fired.exists)
        return lambda: stage.events("run-resumed") > before

    return strike


def now(
    program: str, site: str = "", wait_s: float = 0.0
) -> Callable[[Stage], Callable[[], object]]:
    """A program ends so many seconds into a round."""

    def strike(stage: Stage) -> Callable[[], object]:
        in_a_round(stage)
        time.sleep(wait_s)
        resumed, old = stage.events("run-resumed"), stage.pids(program, site)
        stage.kill(program, site)
        if program == "study":
            return lambda: stage.events("run-resumed") > resumed
        if program == "node":
            time.sleep(1.0)
            return lambda: stage.pids(program, site) - old and site in stage.federation.online()
        if program == "superlink":
            return lambda: stage.pids(program) - old and _answers(stage)
        return lambda: stage.pids(program, site) - old

    return strike


def _answers(stage: Stage) -> bool:
    connection = control(stage.hub)
    try:
        return connection.healthy()
    finally:
        connection.close()


def runner_at(
    site: str, point: str, path: str, nth: int = 1
) -> Callable[[Stage], Callable[[], object]]:
    """A site's runner ends at a named point."""

    def strike(stage: Stage) -> Callable[[], object]:
        fired = stage.order("runner", site, fault="kill", point=point, path=path, nth=nth)
        old = stage.pids("runner", site)
        stage.until(fired.exists)
        return lambda: stage.pids("runner", site) - old

    return strike


def start_of(name: str) -> Callable[[Stage], Callable[[], object]]:
    """A command ``start`` is killed, everything under it ends, and it is started again."""

    def strike(stage: Stage) -> Callable[[], object]:
        in_a_round(stage)
        resumed = stage.events("run-resumed")
        stage.restart(name)
        if name == "hub":
            return lambda: stage.events("run-resumed") > resumed
        return lambda: stage.pids("runner", name)

    return strike


def line(change: Callable[[FaultyLine], None]) -> Callable[[Stage], Callable[[], object]]:
    """Every hospital's line is bad for twenty seconds, or only for an instant."""

    def strike(stage: Stage) -> Callable[[], object]:
        in_a_round(stage)
        change(stage.line)
        time.sleep(20)
        stage.line.mend()
        return lambda: set(SITES) <= stage.federation.online()

    return strike


def full(program: str, site: str, point: str, path: str) -> Callable[[Stage], Callable[[], object]]:
    """A disk is full at a named point, until a person makes room twenty seconds later."""

    def strike(stage: Stage) -> Callable[[], object]:
        fired = stage.order(program, site, fault="full", point=point, path=path)
        stage.until(fired.exists)
        time.sleep(20)
        stage.cancel()
        return lambda: True

    return strike


def flipped(name: str) -> Callable[[Stage], Callable[[], object]]:
    """A byte of the last checkpoint changes while the coordinator's program is down."""

    def strike(stage: Stage) -> Callable[[], object]:
        in_a_round(stage)
        hub, events = stage.federation.children["hub"].process, stage.events("checkpoint-damaged")
        hub.send_signal(signal.SIGSTOP)
        stage.kill("study")
        time.sleep(1.0)
        path = round_folder(stage.run, latest_round(stage.run) or 0) / name
        stage.damaged[path] = flip(path)
        hub.send_signal(signal.SIGCONT)
        return lambda: stage.events("checkpoint-damaged") > events

    return strike


def flipped_ledger(site: str) -> Callable[[Stage], Callable[[], object]]:
    """A byte of a site's ledger changes; a person puts the file back half a minute later."""

    def strike(stage: Stage) -> Callable[[], object]:
        path = stage.federation.homes.home(site) / "ledger.jsonl"
        hub = stage.federation.children[site].process
        hub.send_signal(signal.SIGSTOP)
        stage.kill("runner", site)
        kept, lines = path.read_bytes(), path.read_bytes().count(b"\n")
        flip(path)
        hub.send_signal(signal.SIGCONT)
        committed = stage.committed
        time.sleep(30)
        if stage.committed > committed + 1 or path.read_bytes().count(b"\n") > lines:
            raise SystemExit("a site trained on a damaged ledger")
        hub.send_signal(signal.SIGSTOP)
        stage.kill("runner", site)
        path.write_bytes(kept)
        hub.send_signal(signal.SIGCONT)
        return lambda: stage.pids("runner", site)

    return strike


def flip(path: Path) -> bytes:
    """Change one bit in the middle of a file; return what it held."""
    before = path.read_bytes()
    content = bytearray(before)
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    return before


def clock(program: str, site: str, skew_s: float) -> Callable[[Stage], Callable[[], object]]:
    """A machine's wall clock is wrong for half a minute."""

    def strike(stage: Stage) -> Callable[[], object]:
        in_a_round(stage)
        stage.order(program, site, fault="clock", skew_s=skew_s)
        time.sleep(30)
        stage.cancel()
        return lambda: True

    return strike


def half_open(bad: FaultyLine) -> None:
    """Let everything that is sent disappear."""
    bad.line.half_open = True


def narrow(bad: FaultyLine) -> None:
    """Let twenty thousand bytes a second through."""
    bad.line.bytes_per_s = 20_000.0


def far(bad: FaultyLine) -> None:
    """Let everything take half a second more."""
    bad.line.latency_s = 0.5


def slow_close(bad: FaultyLine) -> None:
    """Hold back the end of every stream."""
    bad.line.close_s = 10.0


LEDGER, KEPT, NOTES = "ledger.jsonl", "state/replies", "audit.jsonl"
FAULTS = (
    Fault("coordinator's program: question noted", program_at("sync", NOTES)),
    Fault("coordinator's program: first answer named", program_at("rename", "/replies/")),
    Fault("coordinator's program: last answer named", program_at("rename", "/replies/", 3)),
    Fault("coordinator's program: an answer synced", program_at("sync", "/replies/", 2)),
    Fault("coordinator's program: model named", program_at("rename", "model.safetensors")),
    Fault("coordinator's program: state named", program_at("rename", "state.json")),
    Fault("coordinator's program: manifest named", program_at("rename", "manifest.json")),
    Fault("coordinator's program: as the round begins", now("study")),
    Fault("coordinator's program: one second in", now("study", wait_s=1.0)),
    Fault("coordinator's server: as the round begins", start_of("hub")),
    Fault("coordinator's server: again", start_of("hub")),
    Fault("SuperLink: as the round begins", now("superlink")),
    Fault("SuperLink: half a second in", now("superlink", wait_s=0.5)),
    Fault("SuperLink: one second in", now("superlink", wait_s=1.0)),
    Fault("SuperLink: two seconds in", now("superlink", wait_s=2.0)),
    Fault("site's node: as the round begins", now("node", "east")),
    Fault("site's node: one second in", now("node", "north", wait_s=1.0)),
    Fault("site's node: two seconds in", now("node", "south", wait_s=2.0)),
    Fault("site's runner: charge synced", runner_at("east", "sync", LEDGER), "east"),
    Fault("site's runner: charge written", runner_at("north", "write", LEDGER), "north"),
    Fault("site's runner: answer kept", runner_at("south", "rename", KEPT), "south"),
    Fault("site's runner: charge settled", runner_at("east", "sync", LEDGER, 2), "east"),
    Fault("site's runner: note of the answer", runner_at("north", "sync", NOTES), "north"),
    Fault("site's runner: half a second in", now("runner", "south", wait_s=0.5), "south"),
    Fault("site's server: in a round", start_of("east"), "east"),
    Fault("line: cut for 20 s", line(FaultyLine.cut)),
    Fault("line: reset", line(FaultyLine.reset)),
    Fault("line: half-open for 20 s", line(half_open)),
    Fault("line: 20 kB a second", line(narrow)),
    Fault("line: half a second more", line(far)),
    Fault("line: ends held back for 10 s", line(slow_close)),
    Fault("full disk: coordinator, an answer", full("study", "", "sync", "/replies/")),
    Fault("full disk: coordinator, a manifest", full("study", "", "sync", "manifest.json")),
    Fault("full disk: site, its ledger", full("runner", "south", "sync", LEDGER), "south"),
    Fault("full disk: site, an answer", full("runner", "east", "sync", KEPT), "east"),
    Fault("flipped byte: the last model", flipped("model.safetensors")),
    Fault("flipped byte: the last state", flipped("state.json")),
    Fault("flipped byte: a site's ledger", flipped_ledger("north"), "north"),
    Fault("clock: coordinator an hour fast", clock("study", "", 3600.0)),
    Fault("clock: a site an hour slow", clock("runner", "south", -3600.0)),
)


def play(stage: Stage, fault: Fault, number: int) -> bool:
    """Let one fault strike, wait for the next committed round, check; print a row."""
    before, said = stage.committed, len(stage.said)
    back = fault.strike(stage)
    back_s = stage.until(back)
    goes_on = stage.committed
    on_s = stage.until(lambda: stage.committed > max(before, goes_on))
    fault.mend(stage)
    wrong = [*problems_of(stage, fault.site)]
    if on_s < 0:
        wrong.append("I5: no further round was committed")
    ended = "; ".join(stage.said[said:])
    cells = (number, fault.name, f"{back_s:.1f}", f"{on_s:.1f}", len(wrong), ended)
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    for problem in wrong:
        print(f"# {problem}", flush=True)
    return not wrong


def main() -> None:
    """Print the table; ends with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name holds this text")
    parser.add_argument("--patience", type=float, default=1800.0, help="s, for the last rounds")
    wishes = parser.parse_args()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)  # in the background, too
    good: list[bool] = []
    chosen = [fault for fault in FAULTS if wishes.only in fault.name]
    with tempfile.TemporaryDirectory() as name:
        stage = Stage(Path(name))
        try:
            stage.until(lambda: stage.committed > 0)
            print("| | fault | back after s | next round after s | promises broken | ended with |")
            print("|---|---|---|---|---|---|", flush=True)
            with suppress(KeyboardInterrupt):  # the table then says how many faults it is of
                for number, fault in enumerate(chosen, 1):
                    good.append(play(stage, fault, number))
            with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
                stage.until(lambda: stage.committed >= ROUNDS, wishes.patience)
                stage.command.wait(120)
            ended = stage.command.poll()
            print(f"\nafter {stage.committed} of {ROUNDS} rounds: the command ended with {ended}")
            wrong = [*problems_at_end(stage, ["done"], ended=ended == 0)]
        finally:
            stage.close()
    print("\n".join(wrong))
    print(f"\n{len(good)} faults, {good.count(False)} broke a promise; at the end {len(wrong)}")
    raise SystemExit(0 if all(good) and not wrong else 1)


if __name__ == "__main__":
    main()
