"""A ledger that lost lines gets them back from coordinators, and never counts too little."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_study import TinyStudy

from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, DeclinedError, LedgerError, LostLinesError
from fedrad.errors import SettingsError as Misfit
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import (
    Charge,
    Line,
    Stream,
    line_from,
    spent,
    stands_for,
    without_doubles,
)
from fedrad.privacy.told import ToldLines, read_told, write_told
from fedrad.task import parse_task
from site_client import audit, guard
from site_client import study as accepted
from site_client.cli import app
from site_client.home import make_home
from site_client.journal import FILE, Journal
from site_client.recovery import adopt
from site_client.settings import SiteSettings, read_site
from site_client.study import CHARGED

TASK = {
    "schema": 1,
    "task": {"name": "demo", "kind": "classification", "classes": ["n", "y"], "positive": "y"},
    "data": {"modality": "DX", "dimensions": 2},
    "labels": {"source": "csv", "map": {"n": 0, "y": 1}},
    "recipe": {"size": [16, 16], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
    "model": {"name": "filter_bank_cnn"},
    "training": {"steps": 1, "expected_batch_patients": 4.0},
    "federation": {"rounds": 1},
    "privacy": {"enabled": True},
    "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
    "analysis": {"primary": "auroc"},
}
SLOW_DISK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Hospital:
    """A home in which a task may be charged, with its ledger."""

    def __init__(self, home: Path, site_toml: str) -> None:
        make_home(home, site_toml, split_key=b"k" * 32)
        self.home = home
        accepted.note_tasks(home, self.settings, [parse_task(TASK)])

    @property
    def settings(self) -> SiteSettings:
        return read_site(self.home)

    @property
    def book(self) -> Journal:
        return Journal(self.home, SystemClock())

    def train(self, reply: str, *, steps: int = 10, done: int | None = 7, task: str = "t1") -> None:
        """Reserve a round and, unless it died, commit it."""
        self.book.reserve(charge(reply, steps=steps, task=task))
        if done is not None:
            self.book.commit(reply, steps=done)

    def release(self, reply: str) -> None:
        self.book.release(charge(reply, stream="audit", steps=1))

    def roll_back(self, kept: int) -> None:
        """Put an old backup of the ledger in place, or none."""
        lines = (self.home / FILE).read_bytes().splitlines(keepends=True)
        (self.home / FILE).write_bytes(b"".join(lines[:kept]))
        if not kept:
            (self.home / FILE).unlink()

    def adopt(self, *lists: Path) -> object:
        return adopt(self.home, self.settings, SystemClock(), lists=lists)


@pytest.fixture
def hospital(tmp_path: Path, site_toml: str) -> Hospital:
    return Hospital(tmp_path / "home", site_toml)


def charge(reply: str, *, stream: Stream = "train", steps: int = 10, task: str = "t1") -> Charge:
    mechanism, q = ("gaussian", 1.0) if stream == "audit" else ("subsampled-gaussian", 0.25)
    event = Event(mechanism=mechanism, sigma=1.5, q=q, steps=steps)  # type: ignore[arg-type]
    return Charge(
        reservation=reply, stream=stream, task_hash=task, event=event, patients_agreed=120
    )


def told(path: Path, lines: tuple[Line, ...], *, task: str = "t1", **fields: str) -> Path:
    """Write what a coordinator saw of the lines of one task."""
    own = tuple(line for line in lines if line.task_hash == task)
    given = {"study": task, "site": "north", "head": lines[-1].hash, **fields}
    write_told(path, ToldLines(lines=own, **given))  # type: ignore[arg-type]
    return path


def steps(lines: tuple[Line, ...]) -> dict[str, int]:
    return {name: sum(e.steps for e in events) for name, events in spent(lines).items()}


def test_a_rolled_back_ledger_stops_names_the_way_out_and_goes_on_once_told(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1")
    hospital.train("a2", done=None)
    hospital.release("e2")
    before, anchor = hospital.book.lines(), hospital.book.head
    hospital.roll_back(1)
    with pytest.raises(LostLinesError, match="fedrad-site ledger adopt"):
        guard.check_anchor(anchor, hospital.book.lines())
    hospital.adopt(told(tmp_path / "list.json", before))
    after = hospital.book.lines()
    assert steps(after) == {"train": 10 + 10, "audit": 1}  # a1 stays open, counted in full
    for line in before:
        guard.check_anchor(line.hash, after)
    hospital.train("a3")


def test_a_deleted_ledger_costs_afterwards_exactly_what_it_had_cost(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1", done=4)
    hospital.train("a2", done=None)
    before = hospital.book.lines()
    hospital.roll_back(0)
    found = hospital.adopt(told(tmp_path / "list.json", before))
    assert (found.lines, found.charged, found.replies) == (3, 2, 2)  # type: ignore[attr-defined]
    assert steps(hospital.book.lines()) == steps(before) == {"train": 14}
    assert audit.read(hospital.home)[-1]["kind"] == "adopted"
    (line, *_) = hospital.book.lines()
    assert stands_for(line) == before[0].hash[:24]
    assert (line.steps, line.kind, line.sigma, line.task_hash) == (0, "release", 1.5, "t1")


@given(
    st.lists(st.tuples(st.sampled_from("td"), st.integers(0, 10)), min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from("td"), st.integers(0, 10)), max_size=3),
    st.integers(0, 12),
)
@SLOW_DISK
def test_whatever_was_lost_and_spent_since_everything_counts_and_every_anchor_verifies(
    tmp_path_factory: pytest.TempPathFactory,
    site_toml: str,
    first: list[tuple[str, int]],
    since: list[tuple[str, int]],
    kept: int,
) -> None:
    """Rounds that committed or died, then an old backup, then more rounds without contact."""
    folder = tmp_path_factory.mktemp("lost")
    site = Hospital(folder / "home", site_toml)
    for number, (fate, done) in enumerate(first):
        site.train(f"a{number}", done=done if fate == "t" else None)
    before = site.book.lines()
    site.roll_back(min(kept, len(before)))
    common = site.book.lines()
    for number, (fate, done) in enumerate(since):
        site.train(f"a{number + len(common)}", done=done if fate == "t" else None)
    site.adopt(told(folder / "list.json", before))
    after = site.book.lines()
    forked = tuple(line for line in after[len(common) :] if not stands_for(line))
    truly = steps(before).get("train", 0) + steps(forked).get("train", 0)
    assert steps(after).get("train", 0) >= truly
    for line in (*before, *after):
        guard.check_anchor(line.hash, after)
    site.adopt(folder / "list.json")
    assert site.book.lines() == after


def test_lines_of_two_studies_are_taken_in_together_or_not_at_all(
    hospital: Hospital, tmp_path: Path
) -> None:
    """Each coordinator has the lines of its own task, and a head that may be the other's."""
    hospital.train("a1", task="t1")
    hospital.train("b1", task="t2")
    before = hospital.book.lines()
    hospital.roll_back(0)
    one, two = (told(tmp_path / f"{task}.json", before, task=task) for task in ("t1", "t2"))
    with pytest.raises(LedgerError, match="'t1' does not have the last line .* all its studies"):
        hospital.adopt(one)
    with pytest.raises(LedgerError, match="'t2' does not have line 1: .* another study"):
        hospital.adopt(two)
    assert hospital.book.lines() == ()
    hospital.adopt(one, two)
    assert steps(hospital.book.lines()) == {"train": 14}
    guard.check_anchor(before[-1].hash, hospital.book.lines())


def test_what_was_taken_in_once_can_be_lost_and_taken_in_again(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1")
    first = hospital.book.lines()
    hospital.roll_back(0)
    hospital.adopt(told(tmp_path / "one.json", first))
    hospital.train("a2")
    again = hospital.book.lines()
    hospital.roll_back(0)
    known = (*first, *again)
    hospital.adopt(told(tmp_path / "two.json", known, head=again[-1].hash))
    after = hospital.book.lines()
    assert steps(after) == {"train": 14}
    assert steps((*known, *after)) == {"train": 14}  # as the coordinator counts
    for line in known:
        guard.check_anchor(line.hash, after)


def test_a_crash_while_taking_in_is_mended_by_doing_it_again(
    hospital: Hospital, tmp_path: Path
) -> None:
    for name in ("a1", "a2"):
        hospital.train(name)
    before = hospital.book.lines()
    hospital.roll_back(0)
    path = told(tmp_path / "list.json", before)
    hospital.adopt(path)
    whole = hospital.book.lines()
    hospital.roll_back(2)
    with pytest.raises(LostLinesError):
        guard.check_anchor(before[-1].hash, hospital.book.lines())
    hospital.adopt(path)
    assert [replace(line, time="", prev="", hash="") for line in hospital.book.lines()] == [
        replace(line, time="", prev="", hash="") for line in whole
    ]


def test_a_copied_home_that_spends_too_is_found_and_both_count(
    hospital: Hospital, tmp_path: Path, site_toml: str
) -> None:
    """Two machines under one name: each has lines that the other lacks."""
    hospital.train("a1")
    shutil.copytree(hospital.home, tmp_path / "copy")
    copy = Hospital(tmp_path / "copy", site_toml)
    hospital.train("a2")
    copy.train("a2")
    for one, other in ((hospital, copy), (copy, hospital)):
        with pytest.raises(LostLinesError):
            guard.check_anchor(one.book.head, other.book.lines())
    copy.adopt(told(tmp_path / "list.json", hospital.book.lines()))
    assert steps(copy.book.lines()) == {"train": 3 * 7}
    guard.check_anchor(hospital.book.head, copy.book.lines())


def test_a_list_that_is_not_whole_or_not_this_sites_charges_nothing(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1")
    before = hospital.book.lines()
    hospital.roll_back(0)
    path = told(tmp_path / "list.json", before)
    for spoilt in (path.read_text().replace('"steps":7', '"steps":1'), "{}", "["):
        (tmp_path / "spoilt.json").write_text(spoilt)
        with pytest.raises(DamagedStateError, match="ask the coordinator again"):
            hospital.adopt(tmp_path / "spoilt.json")
    with pytest.raises(DamagedStateError, match="No such file"):
        hospital.adopt(tmp_path / "nowhere.json")
    with pytest.raises(Misfit, match="it is of site 'south'; this site is 'north'"):
        hospital.adopt(told(tmp_path / "other.json", before, site="south"))
    assert hospital.book.lines() == ()


def test_lines_are_not_taken_in_where_nobody_knows_how_patients_were_dealt(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1")
    path = told(tmp_path / "list.json", hospital.book.lines())
    hospital.roll_back(0)
    (hospital.home / CHARGED).unlink()
    with pytest.raises(DeclinedError, match="less by what this ledger spent"):
        hospital.adopt(path)


def test_a_coordinator_counts_a_line_that_was_taken_in_again_once(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.train("a1")
    before = hospital.book.lines()
    hospital.roll_back(0)
    hospital.adopt(told(tmp_path / "list.json", before))
    after = hospital.book.lines()
    assert without_doubles([*before, *after]) == list(before)
    assert without_doubles(after, known=[line.hash for line in before]) == []
    assert without_doubles(after) == list(after)


def test_a_site_that_lost_its_ledger_trains_again_after_the_command(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole way: rounds, an old ledger put back, a refusal, the list, the next round."""
    first = study.answer()
    home = study.home()
    (home / FILE).unlink()
    ask = study.ask(round_number=2, ledger_head=first.ledger_head)
    refused = study.site().answer(ask, study.model)
    assert (refused.outcome, refused.reason_code) == ("refused", "declined")
    lines = tuple(line_from(event) for event in first.events)
    path = told(
        tmp_path / "list.json", lines, task=study.contract.task_hash, site="east",
        head=first.ledger_head,
    )  # fmt: skip
    with pytest.raises(SystemExit) as end:
        app(["ledger", "adopt", "--home", str(home), "--json", str(path)])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"lines": 2, "charged": 1, "replies": 1}
    reply = study.site().answer(ask, study.model)
    assert reply.outcome == "done"
    told_now = [line_from(event) for event in reply.events]
    assert steps(tuple(told_now)) == {"train": 2 * steps(lines)["train"]}
    assert steps((*lines, *told_now)) == {"train": 2 * steps(lines)["train"]}


def test_a_told_list_reads_as_it_was_written(hospital: Hospital, tmp_path: Path) -> None:
    hospital.train("a1")
    lines = hospital.book.lines()
    found = read_told(told(tmp_path / "list.json", lines))
    assert (found.lines, found.head, found.site) == (lines, lines[-1].hash, "north")
