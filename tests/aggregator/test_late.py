"""Answers that come when their round is closed: discarded, or carried once into the next fold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message
from test_strategy import Hasty
from tiny_federation import PATIENTS, SITES, Fault, TinySites, target, tiny_setup, tiny_task

from aggregator import attendance, checkpoints
from aggregator.app import server_app
from aggregator.checkpoints import read_round
from aggregator.run_folder import read_run
from aggregator.setup import RunSetup, Silent
from aggregator.store import Store
from fedrad import flower
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_request
from fedrad.task import Task
from simulations.engines import server_context
from simulations.grid import LocalGrid
from simulations.pool import Inline


@dataclass(frozen=True)
class Held:
    """An answer to train that comes in a later round than its own."""

    site: str
    round: int
    until: int


class SlowGrid(LocalGrid):
    """A grid whose network holds answers back."""

    poll_s = 5.0

    def __init__(self, sites: TinySites, held: tuple[Held, ...]) -> None:
        flower.quiet()
        super().__init__(SITES, Inline(list(SITES), sites))
        self._held, self._until, self._now = held, {}, 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand the messages over; note which answers are held back."""
        asked = list(messages)
        ids = list(super().push_messages(asked))
        for key, message in zip(ids, asked, strict=True):
            self._now = int(message.metadata.group_id)
            site = SITES[sorted(self.get_node_ids()).index(message.metadata.dst_node_id)]
            for one in self._held:
                if (one.site, one.round) == (site, self._now) and (
                    message.metadata.message_type == "train"
                ):
                    self._until[key] = one.until
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that the network let through."""
        return super().pull_messages(
            [key for key in message_ids if self._now >= self._until.get(key, 0)]
        )


def late_task(**federation: Any) -> Task:
    rule = {"name": "mean", "ceiling": 1e9, "clip": 1e9}
    return tiny_task(**{"late": "carry", "rule": rule, "rounds": 3} | federation)


def run(
    setup: RunSetup, *held: Held, sites: TinySites | None = None, clock: Hasty | None = None
) -> RunSetup:
    setup = replace(setup, clock=clock or Hasty())
    grid = SlowGrid(sites or TinySites(), held)
    server_app(setup)(grid, server_context(grid.run.run_id))
    return setup


def table(folder: Path, name: str) -> pd.DataFrame:
    with Store(folder / "run.sqlite") as store:
        return store.frame(name)


def told(folder: Path, kind: str) -> list[tuple[str, int, int]]:
    rows = table(folder, "events").query("kind == @kind")
    details = [json.loads(text) for text in rows["detail_json"]]
    of_round = [detail.get("of_round", 0) for detail in details]
    return list(zip(rows["site"], rows["round"], of_round, strict=True))


def first_value(folder: Path, number: int) -> float:
    return float(read_round(folder, number)[1]["a"][0, 0])


def shares(*sites: str) -> dict[str, float]:
    total = sum(PATIENTS[site] for site in sites)
    return {site: PATIENTS[site] / total for site in sites}


def expected() -> list[float]:
    """Return the first value of ``a`` after rounds 1 and 2; west's update is of round 1 in both."""
    sent = {site: (float(target(site)["a"][0, 0]) - 0) / 2 for site in SITES}
    one = sum(w * sent[site] for site, w in shares("east", "north", "south").items())
    fresh = {site: (float(target(site)["a"][0, 0]) - one) / 2 for site in SITES[:3]}
    mixed = fresh | {"west": sent["west"]}
    return [one, one + sum(w * mixed[site] for site, w in shares(*SITES).items())]


ONE_LATE = (Held("west", 1, until=2), Held("west", 2, until=99))


def test_a_late_update_is_folded_in_the_next_round_with_its_own_share(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path, late_task()), *ONE_LATE)
    found = [first_value(tmp_path, number) for number in (1, 2)]
    np.testing.assert_allclose(found, expected(), rtol=1e-6)
    assert told(tmp_path, "late-carried") == [("west", 2, 1)]
    rows = table(tmp_path, "replies").query("site == 'west'").set_index(["round", "phase"])
    assert rows["outcome"][1, "train"] == "failed"
    assert (rows["outcome"][2, "late"], rows["weight"][2, "late"]) == ("done", 0.4)
    assert sorted(read_round(tmp_path, 2)[0].accepted) == sorted(SITES)
    assert "Hospital D (west) answered round 1 late: what it sent was folded in a later round." in (
        attendance.sentences(read_run(tmp_path))
    )


def test_without_the_tasks_consent_a_late_update_changes_nothing(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path / "late", late_task(late="discard")), *ONE_LATE)
    never = (Held("west", 1, until=99), Held("west", 2, until=99))
    run(tiny_setup(tmp_path / "never", late_task(late="discard")), *never)
    models = [digest(read_round(tmp_path / name, 3)[1]) for name in ("late", "never")]
    assert models[0] == models[1]
    assert told(tmp_path / "late", "late-discarded") == [("west", 2, 1)]
    assert not (checkpoints.round_folder(tmp_path / "late", 2) / "late").exists()


def test_a_site_with_a_newer_update_counts_once_with_that(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path / "late", late_task()), Held("west", 1, until=2))
    run(tiny_setup(tmp_path / "never", late_task()), Held("west", 1, until=99))
    models = [digest(read_round(tmp_path / name, 2)[1]) for name in ("late", "never")]
    assert models[0] == models[1]
    weights = table(tmp_path / "late", "replies").query("round == 2 and site == 'west'")["weight"]
    assert sorted(weights)[:-1] == [0.0] * (len(weights) - 1)


@pytest.mark.parametrize(("staleness", "carried"), [(1, 0), (2, 1)])
def test_what_is_older_than_the_bound_is_not_carried(
    tmp_path: Path, staleness: int, carried: int
) -> None:
    held = (Held("west", 1, until=3), Held("west", 2, until=99), Held("west", 3, until=99))
    run(tiny_setup(tmp_path, late_task(staleness=staleness)), *held)
    assert len(told(tmp_path, "late-carried")) == carried


def test_late_updates_make_no_quorum(tmp_path: Path) -> None:
    """Two sites answer round 2 in time, and a third one's update of round 1 comes."""
    held = (*ONE_LATE, Held("east", 2, until=99))
    run(tiny_setup(tmp_path, late_task(rounds=2, spare_rounds=1)), *held)
    states = table(tmp_path, "rounds").set_index("round")["state"]
    assert states[2] == "void"


@pytest.mark.parametrize("kind", ["nan", "digest", "foreign"])
def test_a_bad_late_update_is_refused_like_any_other(tmp_path: Path, kind: str) -> None:
    sites = TinySites(SITES, (Fault("west", kind, round=1),))
    run(tiny_setup(tmp_path, late_task()), *ONE_LATE, sites=sites)
    assert told(tmp_path, "late-carried") == []
    assert [(site, number) for site, number, _ in told(tmp_path, "reply-refused")] == [("west", 2)]
    assert np.isfinite(read_round(tmp_path, 3)[1]["a"]).all()


@pytest.mark.parametrize("also", [(), ("nan",)])
def test_ledger_lines_of_a_late_reply_are_recorded_once(
    tmp_path: Path, also: tuple[str, ...]
) -> None:
    """They were spent, whatever becomes of the update."""
    kinds = ("agreed-line", *also)
    sites = TinySites(SITES, tuple(Fault("west", kind, round=1) for kind in kinds))
    run(tiny_setup(tmp_path, late_task(late="discard")), *ONE_LATE, sites=sites)
    assert table(tmp_path, "privacy")[["round", "site", "steps"]].to_numpy().tolist() == [
        [1, "west", 1]
    ]


class Stopped(Hasty, Silent):
    """Somebody presses Ctrl-C in round 2 when all is there that will come."""

    round = 0

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Remember it."""
        del committed, rounds
        self.round = round_number

    def sleep(self, wait_s: float) -> None:
        """Pass the time at once, or interrupt."""
        if self.round == 2:
            raise KeyboardInterrupt
        super().sleep(wait_s)


def cut_in_round_2(folder: Path) -> None:
    stopped = Stopped()
    with pytest.raises(KeyboardInterrupt):
        run(tiny_setup(folder, late_task(), progress=stopped), *ONE_LATE, clock=stopped)
    assert told(folder, "late-carried") == [("west", 2, 1)]


def test_a_run_that_was_cut_after_a_late_update_came_has_the_same_bits(tmp_path: Path) -> None:
    whole = run(tiny_setup(tmp_path / "whole", late_task()), *ONE_LATE)
    cut_in_round_2(tmp_path / "cut")
    run(tiny_setup(tmp_path / "cut", late_task()), Held("west", 2, until=99))
    models = [digest(read_round(folder, 3)[1]) for folder in (whole.folder, tmp_path / "cut")]
    assert models[0] == models[1]
    states = [
        table(folder, "rounds")["accepted_digest"][1] for folder in (whole.folder, tmp_path / "cut")
    ]
    assert states[0] == states[1]


def test_a_late_file_that_was_damaged_meanwhile_is_given_up_by_name(tmp_path: Path) -> None:
    cut_in_round_2(tmp_path)
    checkpoints.late_path(tmp_path, 2, "west").write_bytes(b"nothing")
    run(tiny_setup(tmp_path, late_task()), Held("west", 2, until=99))
    assert [site for site, _, _ in told(tmp_path, "late-lost")] == ["west"]
    assert sorted(read_round(tmp_path, 2)[0].accepted) == sorted(SITES[:3])


def test_a_checkpoint_with_a_late_update_is_made_again_of_the_one_before(tmp_path: Path) -> None:
    class Stops(Silent):
        def round_closed(self, round_number: int, state: str) -> None:
            del state
            if round_number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_setup(tmp_path, late_task(), progress=Stops()), *ONE_LATE)
    made = digest(read_round(tmp_path, 2)[1])
    checkpoints.model_path(tmp_path, 2).write_bytes(b"nothing")
    run(tiny_setup(tmp_path, late_task()))
    assert digest(read_round(tmp_path, 2)[1]) == made


class Evening(Hasty):
    """A clock at twenty to seven on a Monday evening in UTC."""

    def __init__(self) -> None:
        super().__init__()
        self.now = lambda: datetime(2026, 11, 16, 18, 40, tzinfo=UTC)


class Told(TinySites):
    """Sites that note the deadline they are told."""

    def answer(self, message: Message, context: Context) -> Message:
        """Answer honestly."""
        request, _ = decode_request(message)
        deadlines.append(request.deadline_s)
        return super().answer(message, context)


deadlines: list[float] = []


def test_the_deadline_that_a_site_is_told_counts_promised_hours(tmp_path: Path) -> None:
    """Ten minutes of nights that begin at seven, asked at twenty to: half an hour."""
    deadlines.clear()
    task = late_task(rounds=1, deadline_s=600.0, hours="19:00-07:00")
    run(tiny_setup(tmp_path, task), sites=Told(), clock=Evening())
    assert set(deadlines) == {1800.0}


def test_a_site_that_promised_hours_of_its_own_is_told_a_deadline_that_counts_them(
    tmp_path: Path,
) -> None:
    """Asked at twenty to seven: two are there from seven on, one from eight, one always."""
    deadlines.clear()
    setup = tiny_setup(tmp_path, late_task(rounds=1, deadline_s=600.0, hours="19:00-07:00"))
    promised = {"north": "20:00-22:00", "west": "00:00-24:00"}
    sites = {
        name: replace(terms, hours=promised.get(name, ""))
        for name, terms in setup.contract.sites.items()
    }
    setup = replace(setup, contract=replace(setup.contract, sites=sites))
    run(setup, sites=Told(), clock=Evening())
    assert Counter(deadlines) == {600.0: 2, 1800.0: 4, 5400.0: 2}  # to train and to evaluate
