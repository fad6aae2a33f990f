"""A coordinator and hospitals that enrolled at it, with real keys, files and homes; no images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tiny_study import tiny_task

from aggregator.enrol import Enrolment, Wishes, enrol
from aggregator.home import Coordinator
from aggregator.opening import fingerprint, open_home
from fedrad import signatures
from fedrad.clock import SystemClock
from fedrad.contract import Conditions
from fedrad.enrolment import JoinRequest, read_request
from fedrad.task import write_task
from site_client.acceptance import read_offer, refuse_stranger, take_in
from site_client.approvals import Person, approve_software, approve_study
from site_client.home import make_home
from site_client.joining import join, node_key

CLOCK = SystemClock()
STUDY = "demo"
HOSPITALS = ("east", "north", "south")
SITE_TOML = """\
# what the hospital wrote
[site]
name = "{name}"
[archive]
kind = "folder"
path = "../archive"
[privacy]
epsilon_limit = 8.0   # a person's word
delta_limit = 1e-3
min_patients = 1
max_rounds = 50
max_steps = 100
[approval]
studies = []          # nothing yet
"""


class Later(SystemClock):
    """The machine's clock, some days on."""

    def __init__(self, days: float) -> None:
        self._days = days

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self._days)


@dataclass(frozen=True)
class Joined:
    """The homes, in one folder."""

    folder: Path

    @property
    def hub(self) -> Path:
        return self.folder / "hub"

    @property
    def fingerprint(self) -> str:
        """What the coordinator reads out."""
        return fingerprint(self.hub)

    def home(self, name: str) -> Path:
        return self.folder / name

    def request(self, name: str) -> JoinRequest:
        return read_request(self.home(name) / "request.json")

    def join(self, name: str, kind: Any = "train", patients: int = 120) -> JoinRequest:
        """Make a hospital, unless it is there, and let it ask."""
        if not self.home(name).exists():
            make_home(self.home(name), SITE_TOML.format(name=name))
        return join(self.home(name), kind=kind, patients=patients, clock=CLOCK).request

    def enrol(
        self, *names: str, study: str = STUDY, rounds: int = 2, **conditions: Any
    ) -> Enrolment:
        """Invite hospitals, all three if none is named."""
        path = self.folder / f"task-{rounds}.toml"
        write_task(path, tiny_task(f"federation.rounds={rounds}"))
        given = {"expires": "2099-12-31", "recipients": ("the sites",)} | conditions
        wishes = Wishes(study=study, task=path, conditions=Conditions(**given))
        requests = [self.request(name) for name in names or HOSPITALS]
        return enrol(self.hub, requests, wishes, CLOCK)

    def invitation(self, name: str, study: str = STUDY) -> Path:
        return self.hub / "studies" / study / "invitations" / f"{name}.json"

    def accept(self, name: str, path: Path | None = None) -> None:
        """Take an answer in, having heard the right fingerprint."""
        offer = read_offer(self.home(name), path or self.invitation(name), CLOCK)
        refuse_stranger(offer, self.fingerprint)
        take_in(self.home(name), offer, CLOCK)

    def approve(self, name: str, study: str = STUDY) -> None:
        """Let both people say yes."""
        approve_study(self.home(name), study, Person(name="Dr Ada", role="PI"), CLOCK)
        approve_software(self.home(name), Person(name="Bo", role="IT"), CLOCK)


def open_hub(folder: Path) -> Joined:
    """Make a coordinator and three hospitals that asked to join."""
    joined = Joined(folder)
    who = Coordinator(name="The hub", address="localhost:8443")
    open_home(joined.hub, who, CLOCK, listen="127.0.0.1:8443")
    for name in HOSPITALS:
        joined.join(name)
    return joined


def forge(path: Path, change: Callable[[dict], None], key_of: Path | None = None) -> Path:
    """Change the body of a signed file; sign it again where the forger has a home's key."""
    table = json.loads(path.read_text())
    change(table["body"])
    if key_of is not None:
        hub = key_of / "keys" / "coordinator.key"
        key = signatures.read_key(hub) if hub.exists() else node_key(key_of)
        table["signature"] = signatures.sign(key, table["purpose"], table["body"])
    forged = path.with_name(f"forged-{path.name}")
    forged.write_text(json.dumps(table))
    return forged
