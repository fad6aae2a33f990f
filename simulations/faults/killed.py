"""Whole studies in a process of their own that SIGKILL ends again and again, at any instant.

What ``disk`` cannot reach: the middle of SQLite's commit, of a write, of a computation.
Coordinator and sites share the process, so that a kill ends all of them at once; the clock is
virtual, so that a study takes a fraction of a second. What the stand-ins know is kept in files.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fedrad.parameters import Parameters, digest, read_safetensors, write_safetensors
from simulations.faults.events import HUB, SITES, Kill, Schedule
from simulations.faults.play import History, live_on
from simulations.faults.study import Met, Plan, Truth

LONGEST_S = 0.6  # a process is killed after up to so long
_OVER, _STOPPED = 0, 3  # how a process ends that nobody killed
_PATIENCE = 1.2  # and each a little later, so that a busy machine gets somewhere
_MOST = 60  # processes of one study


class Remembered(Truth):
    """What happened at the sites, in files, so that it outlives the process."""

    def __init__(self, folder: Path) -> None:
        """Read what earlier processes wrote."""
        super().__init__()
        folder.mkdir(exist_ok=True)
        self._folder, self._book = folder, folder / "met.jsonl"
        for line in self._book.read_bytes().splitlines() if self._book.exists() else ():
            table = json.loads(line)
            self.met.append(Met(**table | {"ledger": tuple(table["ledger"])}))
        for path in folder.glob("*.safetensors"):
            site, number = path.name.split("+")[:2]
            held = read_safetensors(path)
            self.updates[digest(held)] = site, int(number), held

    def note(self, met: Met) -> None:
        """Note that patients are met; in a file before they are."""
        super().note(met)
        with self._book.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(met)) + "\n")

    def made(self, site: str, number: int, update: Parameters) -> None:
        """Note an update; in a file before its site has it."""
        super().made(site, number, update)
        name = f"{site}+{number}+{digest(update)}.safetensors"
        write_safetensors(self._folder / name, update)


def play_killed(plan: Plan, folder: Path, rng: np.random.Generator) -> tuple[History, int]:
    """Play a quiet study in processes that are killed until one ends by itself.

    Returns:
        The history, and how many processes were killed.
    """
    plan.copy_homes(folder / "sites")
    kills = 0
    for life in range(_MOST):
        status = _live(plan, folder, life, rng.uniform(0.0, LONGEST_S * _PATIENCE**life))
        if status != -signal.SIGKILL:
            break
        kills += 1
    history = _history(plan, folder, 0)
    history.fired = [(Kill(who, 0), "SIGKILL") for who in (HUB, *SITES)] if kills else []
    ended = {_OVER: "done", _STOPPED: "stopped"}.get(status, f"crashed: status {status}")
    history.lives = [*["killed"] * kills, ended]
    return history, kills


def _history(plan: Plan, folder: Path, life: int) -> History:
    truth = Remembered(folder / "truth")
    return History(schedule=Schedule(life), plan=plan, folder=folder, truth=truth)


def _live(plan: Plan, folder: Path, life: int, wait_s: float) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            said = live_on(_history(plan, folder, life))
            over = said == "done" or "already holds a finished run" in said
            status = _OVER if over else _STOPPED if said.startswith("stopped") else 1
        finally:
            os._exit(status)
    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
