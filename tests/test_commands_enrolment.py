"""The commands of a coordinator and its hospitals, as people type them, from init to audit."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_study import tiny_task

from aggregator.cli import app as aggregator
from fedrad import audit_log
from fedrad.clock import SystemClock
from fedrad.task import write_task
from site_client.cli import app as site

SITE_TOML = """
[site]
name = "{name}"
[archive]
kind = "folder"
path = "../archive"
[privacy]
epsilon_limit = 8.0
delta_limit = 1e-3
min_patients = 1
max_rounds = 50
max_steps = 100
"""


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


class Desk:
    """A folder in which commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def type(self, line: str, *more: str, answer: str = "") -> Said:
        program, *words = line.split()
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stdin", io.StringIO(answer))
            with pytest.raises(SystemExit) as ended:
                (site if program == "fedrad-site" else aggregator)([*words, *more])
        return Said(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def ask(self, line: str, *more: str) -> dict:
        done = self.type(line, *more, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A coordinator that enrolled three hospitals."""
    made = Desk(tmp_path_factory.mktemp("desk"))
    write_task(made.folder / "task.toml", tiny_task())
    made.ask("fedrad-aggregator init --home hub --address localhost:8443")
    spoken = []
    for name in ("east", "north", "south"):
        (made.folder / name).mkdir()
        (made.folder / name / "site.toml").write_text(SITE_TOML.format(name=name))
        asked = made.ask(f"fedrad-site join --home {name} --patients 123")
        assert asked["patients_agreed"] == 120
        spoken += ["--fingerprint", asked["fingerprint"]]
    requests = [f"{name}/request.json" for name in ("east", "north", "south")]
    line = "fedrad-aggregator enrol --home hub --study demo --task task.toml --ethics EK-1"
    made.enrolled = made.ask(line, *requests, *spoken)  # type: ignore[attr-defined]
    return made


def test_a_wrong_fingerprint_enrols_nobody(desk: Desk) -> None:
    line = "fedrad-aggregator enrol --home hub --study x --task task.toml east/request.json"
    done = desk.type(line, "--fingerprint", "AAAA-AAAA-AAAA-AAAA-AAAA")
    assert done.returncode == 4
    assert "which is none of those given" in done.stderr


def test_a_person_who_says_no_enrols_nobody(desk: Desk) -> None:
    line = "fedrad-aggregator enrol --home hub --study x --task task.toml east/request.json"
    done = desk.type(line, answer="n\n")
    assert done.returncode == 4
    assert "reads out another fingerprint" in done.stderr


def test_accept_says_when_the_study_asks_for_more_than_the_site_allows(desk: Desk) -> None:
    settings = desk.folder / "south" / "site.toml"
    settings.write_text(settings.read_text().replace("epsilon_limit = 8.0", "epsilon_limit = 2.0"))
    line = "fedrad-site accept --home south hub/studies/demo/invitations/south.json"
    assert "epsilon_limit is 2; rounds beyond it are declined" in desk.type(line).stderr


def test_accept_shows_the_contract_and_takes_what_the_person_heard(desk: Desk) -> None:
    said = desk.enrolled["coordinator"]  # type: ignore[attr-defined]
    invitation = "hub/studies/demo/invitations/east.json"
    wrong = desk.type(f"fedrad-site accept --home east {invitation}", answer="wrong\n")
    assert wrong.returncode == 4
    done = desk.type(f"fedrad-site accept --home east {invitation}", answer=f"{said}\n")
    assert done.returncode == 0
    for shown in ("epsilon 8", "ethics: EK-1", "2 rounds", "120 patients", "as letters"):
        assert shown in done.stderr
    assert "north" not in done.stderr
    assert said not in done.stderr  # it is typed from what was heard, not from the screen
    assert "MORE THAN THIS SITE" not in done.stderr
    diff = desk.type("fedrad-site approve demo --home east --diff")
    assert diff.returncode == 1
    assert "+ contract.conditions.ethics = EK-1" in diff.stdout
    nobody = desk.type("fedrad-site approve demo --home east")
    assert nobody.returncode == 2
    assert "--name must say whose approval" in nobody.stderr
    for what in ("demo", "--software"):
        desk.ask(f"fedrad-site approve {what} --home east --name Ada --role PI")
    assert desk.type("fedrad-site approve demo --home east --diff").returncode == 0


def test_revoke_says_what_it_took(desk: Desk) -> None:
    gone = desk.ask("fedrad-aggregator revoke --home hub south")
    assert gone["status"] == "revoked"
    assert len(gone["revoked"]) == 1
    assert desk.type("fedrad-aggregator revoke --home hub nobody").returncode == 4


def test_a_rotation_goes_there_and_back(desk: Desk) -> None:
    said = desk.enrolled["coordinator"]  # type: ignore[attr-defined]
    line = "fedrad-site accept --home north hub/studies/demo/invitations/north.json --fingerprint"
    desk.ask(line, said)
    desk.ask("fedrad-site join --home north --rotate --node-key")
    made = desk.ask("fedrad-aggregator rotate --home hub north/request-next.json --revoke-old")
    desk.ask(f"fedrad-site accept --home north {made['renewal']}")
    assert desk.type("fedrad-aggregator rotate --home hub").returncode == 2


def test_records_are_verified_exported_and_compared(desk: Desk) -> None:
    east, hub = (desk.folder / name / "audit.jsonl" for name in ("east", "hub"))
    said = {"study": "demo", "round": 1, "phase": "train", "digest": "d" * 64, "bytes": 9}
    audit_log.record(hub, SystemClock(), "sent", site="east", decision="asked", **said)
    audit_log.record(east, SystemClock(), "received", decision="", **said)
    head = desk.ask("fedrad-site audit verify --home east")["hash"]
    desk.ask("fedrad-site audit export --home east --study demo --out east.json")
    assert desk.ask("fedrad-aggregator audit compare --home hub east.json")["same"] == 1
    audit_log.record(hub, SystemClock(), "sent", site="east", decision="asked", **said)
    desk.ask("fedrad-aggregator audit export --home hub east --study demo --out hub.json")
    differs = desk.type("fedrad-site audit compare --home east hub.json")
    assert differs.returncode == 1
    assert "only there: round 1, train, to-site" in differs.stdout
    lines = east.read_bytes().splitlines(keepends=True)
    east.write_bytes(b"".join(lines[:-1]))
    east.with_name("audit.jsonl.head").unlink()
    assert desk.type("fedrad-site audit verify --home east").returncode == 0
    cut = desk.type("fedrad-site audit verify --home east", "--head", head)
    assert cut.returncode == 5
    assert "its end was cut off" in cut.stderr


def test_a_folder_that_is_nobodys_home_is_neither_paused_nor_told_of(desk: Desk) -> None:
    (desk.folder / "elsewhere").mkdir()
    paused = desk.type("fedrad-site pause --home elsewhere --by A --reason", "an inspection")
    assert (paused.returncode, paused.stdout) == (2, "")
    assert not list((desk.folder / "elsewhere").iterdir())
    told = desk.type("fedrad-aggregator status --home elsewhere")
    assert told.returncode == 2
    assert "fedrad-aggregator init" in told.stderr
