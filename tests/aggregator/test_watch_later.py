"""Windows whose labels come later: images first, labels when they are due, one course of both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import test_watch
from flwr.app import Context, Message
from tiny_federation import SITES, TinySites, honest_reply
from watched_study import OnDay
from window_patients import patients

from aggregator import decisions, promotion
from aggregator.app import server_app
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch import Collected
from aggregator.watch_app import watch_app
from fedrad.clock import SystemClock
from fedrad.monitoring import Monitoring
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.agreed import layout_of
from fedrad.shift.blocks import images_window, labels_window
from fedrad.site_report import noised
from fedrad.task import Task, task_hash
from simulations.engines import run_local

CHANGED = 9  # from this window on east's readers turn labels over; windows are counted from 1


def later_task() -> Task:
    begins = Monitoring(begins="2020-01-01", days=30, windows=11, labels="later")
    return replace(test_watch.watched_task(), monitoring=begins)


def sums(site: str, number: int, phase: Phase) -> tuple[Block, ...]:
    place, layout = SITES.index(site), layout_of(later_task())
    seen, labels = patients(np.random.default_rng([place, number]))
    if site == "east" and number >= CHANGED:
        labels = 1 - labels
    key = bytes([place, number, phase == "window-labels"]) + bytes(29)
    exact = (
        images_window(seen, layout)
        if phase == "window-images"
        else labels_window(seen.scores, labels, layout, population=seen.population)
    )
    return noised(exact, sigma=test_watch.SIGMA, rng=noise_source(key))


class LaterSites(TinySites):
    """The tiny sites, which also answer about windows."""

    def answer(self, message: Message, context: Context) -> Message:
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        if not request.phase.startswith("window"):
            return super().answer(message, context)
        blocks = sums(site, request.round, request.phase)
        return encode_reply(replace(honest_reply(request, model, site), blocks=blocks), message)


def setup(folder: Path) -> RunSetup:
    task, plain = later_task(), test_watch.setup(folder)
    return replace(plain, task=task, contract=replace(plain.contract, task_hash=task_hash(task)))


def collect(folder: Path, day: str) -> Collected:
    found: list[Collected] = []
    on_day = replace(setup(folder), clock=OnDay(day))
    run_local(watch_app(on_day, found.append), SITES, LaterSites(), workers=0)
    return found[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("later")
    run_local(server_app(setup(folder)), SITES, LaterSites(), workers=0)
    place = decisions.place_of(None, "", folder)
    promote = partial(promotion.promote, place, 3, decisions.Decider(by="Dr. Test", reason="test"))
    promote(SystemClock(), insists=True)
    return folder


def test_labels_are_asked_when_they_are_due_and_turned_over_ones_are_an_alarm(run: Path) -> None:
    assert collect(run, "2020-02-01").windows == ("record", "2020-01-01")
    assert told(run) == {"record": {"seen", "labelled"}, "2020-01-01": {"seen"}}
    collect(run, "2020-02-28")
    assert told(run)["2020-01-01"] == {"seen", "labelled"}
    assert collect(run, "2020-10-28").alarms == ()  # ten windows of images, nine of labels
    assert told(run)["2020-09-27"] == {"seen"}
    found = collect(run, "2020-11-26").alarms
    assert "concept" in {alarm.channel for alarm in found}
    assert {(a.site, a.kind, a.since_window) for a in found} == {("east", "concept", "2020-08-28")}


def told(run: Path) -> dict[str, set[str]]:
    """Return for each window which parts every site told."""
    found: dict[str, set[str]] = {}
    with Store(run / "run.sqlite") as store:
        for row in store.rows("reports"):
            if row["window"] and row["block"] in ("seen", "labelled"):
                found.setdefault(str(row["window"]), set()).add(str(row["block"]))
    return found
