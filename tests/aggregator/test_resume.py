"""A coordinator that dies anywhere goes on where it stopped, to the same bits."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tiny_federation import SITES, Fault, TinySites, tiny_setup, tiny_task

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.begin import alone_in
from aggregator.heard import read_heard
from aggregator.setup import RunSetup, Silent
from aggregator.store import Store
from aggregator.tables import Answer
from fedrad.errors import RunError
from fedrad.parameters import digest
from fedrad.task import Task
from simulations.engines import run_local

PLAIN = tiny_task()
RICH = tiny_task(strategy={"name": "fedadam", "rate": 0.1}, average=0.5, rounds=4, spare_rounds=2)


def run(setup: RunSetup, *faults: Fault) -> list[tuple[str, str, int]]:
    """Run, or go on; return who answered what: site, phase, round."""
    told: list[tuple[str, str, int]] = []

    def listen(site: str, phase: str, number: int, _: bytes) -> None:
        told.append((site, phase, number))

    run_local(server_app(setup), SITES, TinySites(SITES, faults), workers=0, observer=listen)
    return told


def die_at(setup: RunSetup, point: int, *faults: Fault) -> bool:
    """Run in a process that ends without a word at its n-th commit or sync; tell if it did."""
    child = os.fork()
    if child == 0:
        _end_at(point)
        try:
            run(setup, *faults)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _end_at(point: int) -> None:
    left, sync = [point], os.fsync

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)

    def counted(descriptor: int) -> None:
        count()
        sync(descriptor)

    os.fsync = counted
    event.listen(Engine, "commit", count)


def table(folder: Path, name: str) -> pd.DataFrame:
    with Store(folder / "run.sqlite") as store:
        return store.frame(name)


def final(folder: Path) -> tuple[str, str]:
    last = checkpoints.latest_round(folder)
    assert last is not None
    released = checkpoints.read_released(folder, last)
    return digest(checkpoints.read_round(folder, last)[1]), digest(released)


def check_history(folder: Path) -> None:
    """No round is folded twice, none without its quorum, and the run ended well."""
    assert table(folder, "runs")["status"].tolist() == ["done"]
    events = table(folder, "events").sort_values("seq")
    commits = Counter(events[events["kind"] == "committed"]["round"])
    assert set(commits.values()) == {1}
    rounds = table(folder, "rounds").set_index("round")
    assert list(rounds.index) == list(range(1, len(rounds) + 1))
    for number in commits:
        accepted = table(folder, "replies").query("round == @number and weight > 0")
        assert len(accepted) >= 3
        digests = zip(accepted["site"], accepted["update_digest"], strict=True)
        assert rounds["accepted_digest"][number] == checkpoints.accepted_digest(digests)


def go_on(setup: RunSetup) -> None:
    """Go on, unless the run died when it was already over."""
    with suppress(RunError):
        run(setup)


def tiny(folder: Path, task: Task = PLAIN) -> RunSetup:
    return tiny_setup(folder, task)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """The models of runs that nothing stopped."""
    found = {}
    for name, task in (("plain", PLAIN), ("rich", RICH)):
        folder = tmp_path_factory.mktemp(name)
        run(tiny(folder, task))
        found[name] = final(folder)
    return found


def sweep(folder: Path, task: Task, wanted: tuple[str, str], points: range) -> int:
    died = 0
    for point in points:
        own = folder / str(point)
        if not die_at(tiny(own, task), point):
            return died
        died += 1
        go_on(tiny(own, task))
        assert final(own) == wanted, f"another model after a death at point {point}"
        check_history(own)
    return died


def test_a_death_at_any_write_costs_nothing(
    tmp_path: Path, whole: dict[str, tuple[str, str]]
) -> None:
    assert sweep(tmp_path, PLAIN, whole["plain"], range(1, 1000, 9)) > 9


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "rich"])
def test_a_death_at_every_single_write_costs_nothing(
    tmp_path: Path, whole: dict[str, tuple[str, str]], name: str
) -> None:
    task = PLAIN if name == "plain" else RICH
    assert sweep(tmp_path, task, whole[name], range(1, 1000)) > 80


def test_dying_again_and_again_ends_at_the_same_model(
    tmp_path: Path, whole: dict[str, tuple[str, str]]
) -> None:
    deaths = next(number for number in range(100) if not die_at(tiny(tmp_path, RICH), 40))
    assert deaths > 3
    assert final(tmp_path) == whole["rich"]
    check_history(tmp_path)


def accepted_in(folder: Path, number: int) -> set[str]:
    rows = table(folder, "replies").query("round == @number and outcome == 'done'")
    return set(rows[rows["phase"] == "train"]["site"])


def die_in_mid_round(setup: RunSetup, number: int) -> set[str]:
    """Die at the first write that leaves round ``number`` with two accepted updates."""
    for point in range(1, 1000):
        own = replace(setup, folder=setup.folder / str(point))
        assert die_at(own, point)
        with Store(own.folder / "run.sqlite") as store:
            states = {row["round"]: row["state"] for row in store.rows("rounds")}
        if states.get(number) == "asked" and len(accepted_in(own.folder, number)) == 2:
            own.folder.replace(setup.folder / "run")
            return accepted_in(setup.folder / "run", number)
    raise AssertionError("no such point")


def test_who_was_accepted_is_not_asked_again(
    tmp_path: Path, whole: dict[str, tuple[str, str]]
) -> None:
    before = die_in_mid_round(tiny(tmp_path), 1)
    told = run(tiny(tmp_path / "run"))
    asked = {site for site, phase, number in told if (phase, number) == ("train", 1)}
    assert asked == set(SITES) - before
    assert final(tmp_path / "run") == whole["plain"]


def test_an_update_that_was_damaged_meanwhile_is_asked_for_again(
    tmp_path: Path, whole: dict[str, tuple[str, str]]
) -> None:
    before = die_in_mid_round(tiny(tmp_path), 1)
    folder = tmp_path / "run"
    flip(checkpoints.reply_path(folder, 1, min(before)))
    told = run(tiny(folder))
    assert (min(before), "train", 1) in told
    assert final(folder) == whole["plain"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def stop_after(folder: Path, task: Task, number: int) -> RunSetup:
    """Run until round ``number`` is over, then be interrupted."""

    class Interrupting(Silent):
        def round_closed(self, round_number: int, state: str) -> None:
            del state
            if round_number == number:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(tiny(folder, task), progress=Interrupting()))
    return tiny(folder, task)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_made_again_of_the_one_before(
    tmp_path: Path, whole: dict[str, tuple[str, str]], name: str
) -> None:
    setup = stop_after(tmp_path, RICH, 2)
    flip(checkpoints.round_folder(tmp_path, 2) / name)
    run(setup)
    assert final(tmp_path) == whole["rich"]
    kinds = table(tmp_path, "events")["kind"].tolist()
    assert kinds.count("checkpoint-damaged") == kinds.count("checkpoint-mended") == 1


def test_rounds_that_cannot_be_made_again_are_lost_loudly_and_run_under_new_numbers(
    tmp_path: Path,
) -> None:
    setup = stop_after(tmp_path, RICH, 3)
    for path in (checkpoints.model_path(tmp_path, 2), checkpoints.model_path(tmp_path, 3)):
        flip(path)
    flip(checkpoints.reply_path(tmp_path, 2, "north"))
    run(setup)
    rounds = table(tmp_path, "rounds").set_index("round")["state"]
    assert rounds[[2, 3]].tolist() == ["void", "void"]
    assert sum(rounds.isin(["committed", "evaluated"])) == 4
    events = table(tmp_path, "events")
    assert events[events["kind"] == "lost"]["round"].tolist() == [2, 3]
    check_history(tmp_path)


def test_a_damaged_first_model_is_written_again(
    tmp_path: Path, whole: dict[str, tuple[str, str]]
) -> None:
    setup = stop_after(tmp_path, PLAIN, 1)
    flip(checkpoints.model_path(tmp_path, 0))
    run(setup)
    assert final(tmp_path) == whole["plain"]
    checkpoints.read_round(tmp_path, 0)


def test_the_anchors_and_the_spending_of_a_site_survive(tmp_path: Path) -> None:
    setup = stop_after(tmp_path, PLAIN, 1)
    with Store(tmp_path / "run.sqlite") as store:
        answer = store.rows("replies", round=1, site="west")[0]
        store.record([Answer(**answer | {"ledger_head": "e" * 64})])
        assert read_heard(store).heads == {"west": "e" * 64}
    run(setup)


def test_another_contract_or_first_model_is_refused(tmp_path: Path) -> None:
    setup = stop_after(tmp_path, PLAIN, 1)
    other = replace(setup.contract, study="another-study")
    with pytest.raises(RunError, match="the run of another contract"):
        run(replace(setup, contract=other))
    model = {name: tensor + 1 for name, tensor in setup.initial().items()}
    with pytest.raises(RunError, match="began with another model"):
        run(replace(setup, initial=lambda: model))


def test_two_coordinators_are_not_in_one_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(RunError, match="another process runs the rounds"):
        run(tiny(tmp_path))
    run(tiny(tmp_path))
