"""A new release in the middle of a study, at a hospital and at the coordinator, and back again.

Two releases with the same wire protocol, each on a path of its own; homes stay where they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import PROGRAM, SITES, STUDY, Federation, make_homes, need_nginx
from releases import copy_of, replies_of

from aggregator.checkpoints import latest_round, read_round
from aggregator.studies import run_folder
from fedrad import audit_log

pytestmark = pytest.mark.long
ROUNDS = 4
APPROVE = ("approve", "--software", "--name=Bo", "--role=IT")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    need_nginx()
    folder = tmp_path_factory.mktemp("upgrade")
    plan = ("federation.spare_rounds=6", "evaluation.every_rounds=4", "federation.deadline_s=600")
    running = Federation(make_homes(folder, f"federation.rounds={ROUNDS}", *plan))
    running.open()
    running.until_online()
    yield running
    running.close()


@pytest.fixture(scope="module")
def new(federation: Federation) -> Path:
    return copy_of("0.1.1", federation.homes.folder / "new")


def command(module: str, home: Path, code: Path | None, *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", PROGRAM.format(module=module), *words, "--home", str(home)]
    found = {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"} if code else {}
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=os.environ | found)


def ended(program: subprocess.Popen[str], wait_s: float = 60.0) -> tuple[int, str]:
    _, said = program.communicate(timeout=wait_s)
    return program.returncode, said


def until_round(federation: Federation, number: int) -> None:
    folder = run_folder(federation.hub, STUDY)

    def there() -> bool:
        last = latest_round(folder) if folder.exists() else None
        return bool(last) and read_round(folder, last)[0].committed >= number

    federation.until(there, 300.0)


def test_a_new_release_does_nothing_before_it_said_yes_and_goes_on_after(
    federation: Federation, new: Path
) -> None:
    begun = command("aggregator", federation.hub, None, "run")
    until_round(federation, 1)
    federation.children.pop("east").end()
    home = federation.homes.home("east")
    before = (home / "ledger.jsonl").read_bytes()
    code, said = ended(command("site_client", home, new, "start"))
    assert code == 4
    assert "fedrad-site approve --software" in said
    assert (home / "ledger.jsonl").read_bytes() == before
    assert ended(command("site_client", home, new, *APPROVE))[0] == 0
    federation.start("east", "site_client", home, new)
    until_round(federation, 2)
    begun.terminate()
    begun.communicate()


def test_the_coordinator_goes_on_with_a_new_release_in_its_home(
    federation: Federation, new: Path
) -> None:
    federation.children.pop("hub").end()
    federation.start("hub", "aggregator", federation.hub, new)
    federation.until_online()
    begun = command("aggregator", federation.hub, new, "run")
    until_round(federation, 3)
    begun.terminate()
    begun.communicate()


def test_the_old_release_takes_over_again_and_the_study_ends(federation: Federation) -> None:
    """IT approves one release at a time, so it says yes to the old one again."""
    federation.children.pop("east").end()
    home = federation.homes.home("east")
    assert ended(command("site_client", home, None, "start"))[0] == 4
    assert ended(command("site_client", home, None, *APPROVE))[0] == 0
    federation.start("east", "site_client", home)
    code, said = ended(command("aggregator", federation.hub, None, "run"), 400.0)
    assert code == 0, said + federation.logs()


def test_no_round_was_lost_or_paid_twice_and_every_record_is_whole(federation: Federation) -> None:
    replies = replies_of(federation)
    trained = replies[(replies["phase"] == "train") & (replies["outcome"] == "done")]
    rounds = trained.groupby("round")["site"].agg(set)
    assert (rounds == set(SITES)).sum() == ROUNDS
    assert not trained.duplicated(["round", "site"]).any()
    for site in SITES:
        home = federation.homes.home(site)
        assert audit_log.verify(home / "audit.jsonl")
        kinds = Counter(line.split('"kind":"')[1].split('"')[0] for line in ledger(home))
        assert kinds["commit"] == (trained["site"] == site).sum()


def ledger(home: Path) -> list[str]:
    return [line for line in (home / "ledger.jsonl").read_text().splitlines() if line]
