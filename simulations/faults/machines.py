"""The sites' machines: the real program over a home, which may die and be started again.

A machine answers one message at a time. One that died while it answered is down for some
seconds; what it was asked then waits for it, as at a server that keeps messages.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict

from fedrad import flower
from fedrad.clock import Clock
from fedrad.durable import MANIFEST
from simulations.faults.disk import Disk, Killed
from simulations.faults.events import Damage
from simulations.faults.study import CANARY, SEED, StudySite, Truth
from simulations.worker import error_reply
from site_client.app import client_app
from site_client.home import LEDGER
from site_client.round import SiteRuntime

DOWN_S = 5.0
COORDINATORS = {
    "model": "model.safetensors",
    "state": "state.json",
    "manifest": MANIFEST,
}


@dataclass(slots=True)
class Machine:
    """One site's machine; a clone's name is not its site's."""

    name: str
    site: str
    home: Path
    disk: Disk
    down_until_s: float = 0.0
    raises: bool = False  # the next training stumbles over a patient
    program: Callable[..., Any] | None = None

    def answer(self, message: Message, now_s: float) -> Message | None:
        """Return the reply; ``None``, or an error of the server's, of a machine that died.

        Whoever asked hears of a death from the server in one of two cases.
        """
        self.program = self.program or self._start()
        try:
            with self.disk.acting(self.name):
                return self.program(message=message, context=self._context(message))
        except Killed:
            self.program = None
            self.down_until_s = now_s + DOWN_S
            told = (message.metadata.dst_node_id + self.disk.points[self.name]) % 2
            return error_reply(message, flower.APP_CRASHED, "the program died") if told else None
        except Exception as error:  # noqa: BLE001  # what Flower puts on the wire of an app's error
            return error_reply(message, flower.APP_RAISED, f"{type(error).__name__}: {error}")

    def reached(self, what: str) -> None:
        """Pass a point of the training on; stumble over a patient if the schedule says so."""
        self.disk.reached(what)
        if self.raises:
            self.raises = False
            raise ValueError(f"cannot read the image of {CANARY}")

    def _start(self) -> Callable[..., Any]:
        self.disk.revive(self.name, self.home)
        return client_app(lambda _: SiteRuntime(self.home, SEED))  # type: ignore[no-any-return]

    def _context(self, message: Message) -> Context:
        return Context(
            run_id=message.metadata.run_id,
            node_id=message.metadata.dst_node_id,
            node_config={},
            state=RecordDict(),
            run_config={},
        )


@dataclass(frozen=True, slots=True)
class SiteOf:
    """Takes the place of ``Site`` where the program makes one."""

    machines: dict[Path, Machine]
    truth: Truth
    clock: Clock

    def __call__(self, runtime: SiteRuntime) -> StudySite:
        """Return the site of a home."""
        machine = self.machines[runtime.home]
        return StudySite(runtime, self.clock, self.truth, machine.reached)


def clone(machine: Machine, folder: Path) -> Machine:
    """Return a second machine over a copy of a machine's home as it is now."""
    home = folder / f"{machine.site}-clone"
    if not home.exists():
        shutil.copytree(machine.home, home)
    return Machine(home.name, machine.site, home, machine.disk)


def files_of(damage: Damage, run: Path, homes: Path) -> list[Path]:
    """Return the files that a damage is done to; none while they are not there yet."""
    rounds = run / "rounds" / f"{damage.round:04d}"
    if damage.what in COORDINATORS:
        found = [rounds / COORDINATORS[damage.what]]
    elif damage.what == "reply":
        found = [rounds / "replies" / f"{damage.site}.safetensors"]
    elif damage.what == "ledger":
        found = [homes / damage.site / LEDGER]
    else:
        found = sorted((homes / damage.site / "state" / "replies").glob("*.safetensors"))[:1]
    return [path for path in found if path.exists()]


def spoil(path: Path, how: str) -> bytes:
    """Change a file in place, unseen by any program; return what it held before."""
    before = path.read_bytes()
    content = bytearray(before)
    if how == "flip" and content:
        content[len(content) * 2 // 3] ^= 1
    kept = {"flip": len(content), "cut": len(content) * 2 // 3, "empty": 0}[how]
    path.write_bytes(content[:kept])
    return before
