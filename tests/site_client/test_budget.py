"""What a hospital reads about its budget is what its guard decides by."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tiny_study import TinyStudy, copy_study

from fedrad.clock import SystemClock
from fedrad.privacy.accounting import Event, attack_within, best_attack, epsilon
from fedrad.privacy.ledger import Charge, Stream
from fedrad.privacy.renyi import filtered_epsilon
from simulations.scenario import Limits
from site_client import study as accepted
from site_client.budget import Budget, read_budget
from site_client.budget_screen import as_text
from site_client.cli import app
from site_client.home import make_home
from site_client.journal import FILE, Journal
from site_client.settings import read_site

DELTA = 1e-4


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def step(sigma: float, steps: int) -> Event:
    return Event(mechanism="subsampled-gaussian", sigma=sigma, q=0.25, steps=steps)


def charge(reply: str, event: Event, *, stream: Stream = "train", task: str = "t1") -> Charge:
    return Charge(
        reservation=reply, stream=stream, task_hash=task, event=event, patients_agreed=120
    )


@pytest.fixture
def home(tmp_path: Path, site_toml: str) -> Path:
    """A home with a task of 60 steps that is called chests."""
    folder = tmp_path / "home"
    make_home(folder, site_toml + "\n[privacy.per_task]\nchests = 4.0\n", split_key=b"k" * 32)
    table = {"dealt": "d", "tasks": {"t1": "chests"}, "plans": {"t1": {"train": 60, "audit": 4}}}
    (folder / accepted.CHARGED).write_text(json.dumps(table))
    return folder


def budget(home: Path) -> Budget:
    return read_budget(home, read_site(home))


def test_nothing_spent_is_said_so(home: Path) -> None:
    found = budget(home)
    assert (found.worst, found.lines, found.head, found.streams) == (None, 0, "", ())
    assert "nothing is spent of epsilon 8 at delta 0.0001" in as_text(found)


def test_spent_reserved_and_left_are_those_of_the_accountant(home: Path) -> None:
    book = Journal(home, SystemClock())
    book.reserve(charge("a1", step(2.0, 10)))
    book.commit("a1", steps=6)
    book.reserve(charge("a2", step(2.0, 10)))
    book.release(
        charge("e1", Event(mechanism="gaussian", sigma=3.0, q=1.0, steps=1), stream="audit")
    )
    found = budget(home)
    train, audit = found.streams
    spent, both = (epsilon([step(2.0, steps)], DELTA) for steps in (6, 16))
    assert (train.spent, train.reserved, train.steps) == (spent, pytest.approx(both - spent), 16)
    assert train.left == pytest.approx(8.0 - both)
    assert train.attack == best_attack([step(2.0, 16)])
    assert (audit.stream, audit.reserved, audit.steps) == ("audit", 0.0, 1)
    assert [(paid.task, paid.limit) for paid in found.tasks] == [("chests", 4.0)] * 2
    assert found.worst == max(found.streams, key=lambda paid: paid.spent)
    assert found.head == book.head


def test_how_many_more_like_the_last_fit_is_what_the_limit_allows(home: Path) -> None:
    book = Journal(home, SystemClock())
    book.reserve(charge("a1", step(2.0, 10)))
    (of_site,), (of_task,) = budget(home).streams, budget(home).tasks
    for paid, limit in ((of_site, 8.0), (of_task, 4.0)):
        assert paid.more > 0
        total = [step(2.0, 10 * (1 + paid.more))]
        counted = epsilon(total, DELTA) if 1 + paid.more <= 6 else 0.0
        assert counted <= limit
    assert of_task.more < of_site.more


def test_several_contracts_are_counted_by_the_filter_and_by_the_looser_attack(home: Path) -> None:
    book = Journal(home, SystemClock())
    book.reserve(charge("a1", step(2.0, 10)))
    book.reserve(charge("b1", step(5.0, 10), task="t2"))
    found = budget(home)
    (train,) = found.streams
    assert train.filtered
    total = train.spent + train.reserved
    kinds = ((2.0, 0.25, 10), (5.0, 0.25, 10))
    assert total == pytest.approx(filtered_epsilon(kinds, DELTA), rel=1e-3)
    assert train.attack == attack_within(total, DELTA)
    assert train.attack > best_attack([step(2.0, 10), step(5.0, 10)])
    assert [paid.task for paid in found.tasks] == ["chests", "t2"]
    assert not any(paid.filtered for paid in found.tasks if paid.task == "chests")


def test_json_is_one_object_that_the_screen_agrees_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = Journal(home, SystemClock())
    book.reserve(charge("a1", step(2.0, 10)))
    assert run("budget", "--json", "--home", str(home)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ledger"] == {"verified": True, "lines": 1, "head": book.head}
    assert (found["delta"], found["epsilon_limit"], found["false_alarm"]) == (DELTA, 8.0, 0.01)
    assert found["epsilon"] == found["streams"][0]["reserved"] == epsilon([step(2.0, 10)], DELTA)
    assert run("budget", "--home", str(home)) == 0
    screen = capsys.readouterr().out
    assert f"epsilon {found['epsilon']:.2f} of 8 at delta 0.0001" in screen
    assert f"at most {math.ceil(found['attack'] * 100)} % of participants" in screen
    assert "every hash checked" in screen
    assert "chests" in screen


def test_a_charge_without_noise_has_no_number_and_no_json_infinity(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal(home, SystemClock()).reserve(charge("a1", step(0.1, 1)))
    assert run("budget", "--json", "--home", str(home)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["epsilon"], found["streams"][0]["left"], found["attack"]) == (None, 0.0, 1.0)
    assert "without bound" in as_text(budget(home))


def test_a_damaged_ledger_ends_with_five_and_the_way_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal(home, SystemClock()).reserve(charge("a1", step(2.0, 10)))
    path = home / FILE
    path.write_text(path.read_text().replace('"steps":10', '"steps":1'))
    for words in (("budget",), ("budget", "--json")):
        assert run(*words, "--home", str(home)) == 5
        said = capsys.readouterr()
        assert said.out == ""
        assert "ledger.jsonl is damaged" in said.err
        assert "restore it from a backup" in said.err


def test_the_last_refusal_is_told_with_its_numbers_and_what_would_fit(
    hospitals: Path, tmp_path: Path
) -> None:
    study = copy_study(hospitals, tmp_path / "run", east=Limits(epsilon_limit=0.01, min_patients=1))
    assert study.answer().reason_code == "budget"
    home = study.home()
    said = as_text(read_budget(home, read_site(home)))
    flat = " ".join(said.split())
    assert "over its limit of 0.01" in flat
    assert "epsilon_limit at delta 0.001; one contract, composed exactly" in flat
    assert "0 more steps would fit" in flat
    assert study.site().answer(study.ask("query"), {}).outcome == "done"


def test_the_command_changes_no_file(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study.answer()
    before = {p: p.read_bytes() for p in study.home().rglob("*") if p.is_file()}
    assert run("budget", "--home", str(study.home())) == 0
    assert {p: p.read_bytes() for p in study.home().rglob("*") if p.is_file()} == before
