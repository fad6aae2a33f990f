"""A coordinator and hospitals as real processes on the loopback, over mutual TLS.

Homes are made as people make them, with the commands' own functions; archives are phantom
hospitals. Every process that is started ends with its owner.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from joined import CLOCK, Joined
from tiny_study import SEED, UNHURRIED, tiny_scenario, tiny_task

from aggregator.deployment.runs import sites_table
from aggregator.deployment.superlink import control
from aggregator.enrol import Wishes, enrol
from aggregator.home import Coordinator, read_coordinator
from aggregator.opening import open_home
from fedrad.contract import Conditions
from fedrad.processes import Child, Plan, free_port
from fedrad.task import Task, write_task
from simulations import premises
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import home_of, site_folder
from simulations.scenario import Limits

SITES = ("east", "north", "south")
STUDY = "demo"
PROGRAM = "from {module}.cli import app; app()"


def need_nginx() -> None:
    """Skip where there is no nginx; CI installs it."""
    if not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")):
        pytest.skip("missing: nginx (Debian: nginx-light)")


class Homes(Joined):
    """A coordinator's home and hospitals' homes over phantom archives, all in one folder."""

    def home(self, name: str) -> Path:
        return home_of(self.folder, name)


@dataclass
class Federation:
    """The running programs."""

    homes: Homes
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def hub(self) -> Path:
        return self.homes.hub

    def open(self, *names: str) -> None:
        """Start the coordinator's server and hospitals, all if none is named."""
        self.start("hub", "aggregator", self.hub)
        for name in names or SITES:
            self.start(name, "site_client", self.homes.home(name))

    def start(self, name: str, module: str, home: Path, code: Path | None = None) -> Child:
        """Start one command ``start``, of another copy of fedrad if ``code`` has one."""
        command = (
            sys.executable,
            "-c",
            PROGRAM.format(module=module),
            "start",
            "--home",
            str(home),
        )
        log = self.homes.folder / f"{name}.log"
        found = {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"} if code else {}
        plan = Plan(name=name, command=command, log=log, grace_s=40.0, environment=found)
        self.children[name] = Child(plan)
        return self.children[name]

    def until_online(self, names: Iterable[str] = SITES, wait_s: float = 120.0) -> None:
        """Wait until hospitals are online."""
        wanted = set(names)
        self.until(lambda: wanted <= self.online(), wait_s)

    def online(self) -> set[str]:
        """Return the hospitals that are online."""
        return {row["site"] for row in sites_table(self.hub) if row["node"] == "online"}

    def until(self, holds: Callable[[], bool], wait_s: float = 120.0) -> None:
        """Wait until something holds; fail with every log if it does not in time."""
        end_s = time.monotonic() + wait_s
        while not holds():
            for name, child in self.children.items():
                assert child.alive, f"{name} ended\n{self.logs()}"
            assert time.monotonic() < end_s, self.logs()
            time.sleep(0.3)

    def run_bundle(self, content: bytes) -> int:
        """Start a run at the control path, as whoever reaches it could."""
        connection = control(self.hub)
        try:
            return connection.start_bundle(content)
        finally:
            connection.close()

    def pids(self, of: str) -> list[int]:
        """Return processes of this federation whose command line holds a text."""
        return [pid for pid, line in command_lines() if of in line and self.marks(line)]

    def marks(self, line: str) -> bool:
        """Whether a command line names this federation's folder."""
        return str(self.homes.folder) in line

    def kill(self, of: str) -> int:
        """End one process without a word, by part of its command line."""
        [pid, *_] = self.pids(of)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_study(self) -> None:
        """End the program of the study that runs, without a word."""
        for pid in self.study_pids():
            os.kill(pid, signal.SIGKILL)

    def study_pids(self) -> list[int]:
        """Return the programs of studies: children of the coordinator's command."""
        hub = self.children["hub"].process.pid
        found = [pid for pid, line in command_lines() if "study_process" in line]
        return [pid for pid in found if _parent(pid) == hub]

    def logs(self) -> str:
        """Return the end of every log."""
        paths = [*self.homes.folder.glob("*.log"), *self.homes.folder.rglob("logs/*.log")]
        paths += [*(self.hub / "superlink").glob("*.log"), *(self.hub / "gateway").glob("*.log")]
        return "\n".join(f"== {p.name}\n" + p.read_text(errors="replace")[-2500:] for p in paths)

    def close(self) -> None:
        """End every program, hospitals first, and find nothing left of them."""
        for child in reversed(self.children.values()):
            child.ask_to_end()
        for child in self.children.values():
            child.end()
        left = [line for _, line in command_lines() if self.marks(line)]
        assert not left, left
        host, _, port = read_coordinator(self.hub).gateway.listen.partition(":")
        with socket.socket() as door:
            assert door.connect_ex((host, int(port))), "the gateway still answers"


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_lines() -> list[tuple[int, str]]:
    """Return every process with its command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append((int(path.name), line))
        except OSError:
            continue
    return found


def make_homes(folder: Path, *settings: str, patients: int = 40) -> Homes:
    """Make all homes, enrol, accept and approve: ready to start."""
    homes, task = Homes(folder), tiny_task(UNHURRIED, *settings)
    scenario = tiny_scenario(
        limits={site: Limits(epsilon_limit=50.0, min_patients=1) for site in SITES},
        hospitals=tuple(HospitalSpec(name=site, patients=patients, size=64) for site in SITES),
    )
    for spec in scenario.hospitals:
        write_hospital(site_folder(folder, spec.name), spec, seed=SEED)
        premises.open_home(folder, spec.name, scenario, task, seed=SEED)
        homes.join(spec.name, patients=20)
    enrol_all(homes, task)
    for site in SITES:
        homes.approve(site)
    return homes


def make_doors(folder: Path, *settings: str) -> Homes:
    """Make homes without images: enough for everything but training."""
    homes = Homes(folder)
    for site in SITES:
        homes.join(site)
    enrol_all(homes, tiny_task(*settings))
    return homes


def enrol_all(homes: Homes, task: Task) -> None:
    """Make the coordinator's home and let the hospitals that asked in."""
    port, path = free_port(), homes.hub / "aggregator.toml"
    who = Coordinator(name="The hub", address=f"localhost:{port}")
    open_home(homes.hub, who, CLOCK, listen=f"127.0.0.1:{port}")
    ports = f"[ports]\nsuperlink = {free_port()}\nhealth = {free_port()}\n"
    path.write_text(re.sub(r"\[ports\][^\[]*", ports, path.read_text()))
    write_task(homes.folder / "task.toml", task)
    conditions = Conditions(expires="2099-12-31", recipients=("the sites",))
    wishes = Wishes(study=STUDY, task=homes.folder / "task.toml", conditions=conditions)
    enrol(homes.hub, [homes.request(site) for site in SITES], wishes, CLOCK)
    for site in SITES:
        homes.accept(site)
