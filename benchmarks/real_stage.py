"""A real study that faults strike: a coordinator and three hospitals, a line, a person.

Everything runs as it does in a hospital, as processes over mutual TLS behind a gateway; a
bad line lies between the hospitals and the gateway. The person calls ``run`` again when a run
has ended with a reason. What strikes, and when, is ``real_faults``'s business; what a program
is ordered to do is ``real_points``'s.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "studies"))

from deployed import PROGRAM, SITES, STUDY, Federation, command_lines, make_homes

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
