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
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from real_history import problems_at_end, problems_of
from real_stage import ROUNDS, SITES, Stage

from aggregator.checkpoints import latest_round, round_folder
from aggregator.deployment.superlink import control
from simulations.faults.proxy import FaultyLine


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
