"""How long it takes from installed programs to the end of the first secure round.

A coordinator and three hospitals with phantom archives on this machine's loopback, each
command as people type it, one after the other, with nobody thinking in between: init, join,
enrol, accept, approve, start, run. Mutual TLS, a contract that every hospital signed, privacy
on, DICOM in. Archives are written before the clock starts. Run:

    python benchmarks/first_round.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fedrad.processes import Child, Plan, free_port
from simulations.hospital import HospitalSpec, write_hospital

SITES = ("east", "north", "south")
PATIENTS, STUDY, EPSILON = 160, "demo", 8.0
TASK = Path(__file__).resolve().parents[1] / "docker" / "demo" / "task.toml"
PROGRAMS = Path(sys.executable).parent
_FREE_LOOPBACK = "[ports]\nsuperlink = {}\nhealth = {}\n"


class Clock:
    """Notes how long each step took."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note the time of what happens inside."""
        begun_s = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - begun_s))


def call(home: Path, *words: str) -> dict[str, Any]:
    """Run a command with a home and return what it says."""
    line = [str(PROGRAMS / words[0]), *words[1:], "--home", str(home), "--json"]
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def measure(folder: Path, rounds: int) -> Clock:
    """Play coordinator, hospitals and their IT; return how long each step took."""
    task = folder / "task.toml"
    task.write_text(re.sub(r"(rounds|every_rounds) = 3", rf"\1 = {rounds}", TASK.read_text()))
    for number, name in enumerate(SITES, start=1):
        write_hospital(
            folder / name, HospitalSpec(name=name, patients=PATIENTS, size=64), seed=number
        )
    hub, homes, clock = folder / "hub", {name: folder / name / "home" for name in SITES}, Clock()
    with ExitStack() as stack:
        with clock.step("hospitals: init, join"):
            asked = {name: _join(folder / name, home, task) for name, home in homes.items()}
        with clock.step("coordinator: init, enrol"):
            done = _enrol(hub, asked, task)
        with clock.step("hospitals: accept, approve"):
            for name, home in homes.items():
                _say_yes(home, done["invitations"][name], done["coordinator"])
        with clock.step("all: start, until everybody is online"):
            _start(stack, folder, hub, "fedrad-aggregator")
            for home in homes.values():
                _start(stack, folder, home, "fedrad-site")
            while _online(hub) < len(SITES):
                time.sleep(0.5)
        with clock.step(f"coordinator: run, {rounds} round and its evaluation"):
            call(hub, "fedrad-aggregator", "run")
    return clock


def _online(hub: Path) -> int:
    line = [str(PROGRAMS / "fedrad-aggregator"), "status", "--home", str(hub), "--json"]
    told = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False).stdout
    return sum(row["node"] == "online" for row in json.loads(told)["sites"])


def _join(place: Path, home: Path, task: Path) -> dict[str, Any]:
    images = ("--archive", str(place / "ARCHIVE"), "--labels", str(place / "labels.csv"))
    call(home, "fedrad-site", "init", "--name", place.name, *images)
    path = home / "site.toml"  # what a person decides
    path.write_text(path.read_text().replace("epsilon_limit = 2.0", f"epsilon_limit = {EPSILON}"))
    return call(home, "fedrad-site", "join", "--task", str(task))


def _enrol(hub: Path, asked: dict[str, dict[str, Any]], task: Path) -> dict[str, Any]:
    port = free_port()
    where = ("--address", f"localhost:{port}", "--listen", f"127.0.0.1:{port}")
    call(hub, "fedrad-aggregator", "init", *where)
    path, ports = hub / "aggregator.toml", _FREE_LOOPBACK.format(free_port(), free_port())
    path.write_text(re.sub(r"\[ports\][^\[]*", ports, path.read_text()))
    said = [part for one in asked.values() for part in ("--fingerprint", one["fingerprint"])]
    about = ("--study", STUDY, "--task", str(task), "--recipient", "the sites")
    requests = [one["request"] for one in asked.values()]
    return call(hub, "fedrad-aggregator", "enrol", *requests, *about, *said)


def _say_yes(home: Path, invitation: str, coordinator: str) -> None:
    call(home, "fedrad-site", "accept", invitation, "--fingerprint", coordinator)
    person = ("--name", "Dr Ada Byron", "--role", "principal investigator")
    call(home, "fedrad-site", "approve", STUDY, *person)
    call(home, "fedrad-site", "approve", "--software", "--name", "Bo Ek", "--role", "IT security")


def _start(stack: ExitStack, folder: Path, home: Path, program: str) -> None:
    line = (str(PROGRAMS / program), "start", "--home", str(home))
    log = folder / f"{home.parent.name}.log"
    child = Child(Plan(name=home.name, command=line, log=log, grace_s=40.0))
    stack.callback(child.end)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        clock = measure(Path(name), rounds)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print("\n| step | seconds |\n|---|---|")
    for step, seconds in clock.steps:
        print(f"| {step} | {seconds:.1f} |")
    print(f"| **together** (goal 300) | {sum(seconds for _, seconds in clock.steps):.1f} |")


if __name__ == "__main__":
    main()
