"""Windows of a model that outlines: collected, measured and judged like those of scores."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message
from tiny_federation import SITES, TinySites, honest_reply, initial_model, tiny_contract, tiny_task
from window_patients import patients

from aggregator import decisions, promotion
from aggregator.app import server_app
from aggregator.report import write_report
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch import Collected
from aggregator.watch_app import watch_app
from fedrad.clock import SystemClock
from fedrad.data_contract import Labels
from fedrad.metrics import segmentation
from fedrad.monitoring import Monitoring
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Block
from fedrad.shift.agreed import layout_of
from fedrad.shift.blocks import Cases, Seen, outlines_window
from fedrad.site_report import noised
from fedrad.task import Task, task_hash
from simulations.engines import run_local

SIGMA, LAST, CHANGED = 2.0, 10, 9
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)


def outlines_task() -> Task:
    task = tiny_task(rounds=2)
    return replace(
        task,
        task=replace(task.task, kind="segmentation"),
        labels=Labels(source="seg", map={"y": 1}),
        training=replace(task.training, loss="dice_ce"),
        privacy=replace(task.privacy, enabled=True, delta=1e-5),
        evaluation=replace(task.evaluation, edges=EDGES, release="private"),
        analysis=replace(task.analysis, primary="dice_mean"),
        monitoring=Monitoring(begins="2020-01-01", days=30, windows=LAST),
    )


def cases(rng: np.random.Generator, worse: float) -> Cases:
    dice = rng.beta(14, 2, 200) - worse
    return Cases(dice, np.clip(dice + 0.02, 0, 1), 20 * (1 - dice), np.zeros(200, bool))


@lru_cache(maxsize=8)
def seen_at(site: str) -> Seen:
    return patients(np.random.default_rng(SITES.index(site)))[0]


@lru_cache(maxsize=64)
def sums(site: str, number: int) -> tuple[Block, ...]:
    """A window of 200 patients; the outlines of east fit worse from ``CHANGED`` on."""
    rng = np.random.default_rng([SITES.index(site), number])
    worse = 0.08 if site == "east" and number >= CHANGED else 0.0
    exact = outlines_window(seen_at(site), cases(rng, worse), layout_of(outlines_task()))
    key = bytes([SITES.index(site), number]) + bytes(30)
    return noised(exact, sigma=SIGMA, rng=noise_source(key))


class OutlineSites(TinySites):
    """The tiny sites with outlines."""

    def answer(self, message: Message, context: Context) -> Message:
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        reply = honest_reply(request, model, site)
        if request.phase == "evaluate":
            own = cases(np.random.default_rng(1), 0.0)
            audit = segmentation.blocks(own.dice, own.prediction_empty, edges=EDGES)
            reply = replace(reply, blocks=audit)
        if request.phase == "window":
            reply = replace(reply, blocks=sums(site, request.round))
        return encode_reply(reply, message)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outlines") / "run"
    task = outlines_task()
    contract = tiny_contract(task)
    terms = {site: replace(t, window_sigma=SIGMA) for site, t in contract.sites.items()}
    contract = replace(contract, schema=2, task_hash=task_hash(task), sites=terms)
    setup = RunSetup(folder=folder, task=task, contract=contract, initial=initial_model)
    run_local(server_app(setup), SITES, OutlineSites(), workers=0)
    who = decisions.Decider(by="Dr. Test", reason="for the test")
    promotion.promote(decisions.place_of(None, "", folder), 2, who, SystemClock(), insists=True)
    found: list[Collected] = []
    run_local(watch_app(setup, found.append), SITES, OutlineSites(), workers=0)
    return folder


def rows(folder: Path, table: str, **equal: str) -> list[dict[str, Any]]:
    with Store(folder / "run.sqlite") as store:
        return store.rows(table, **equal)


def test_outlines_that_fit_worse_are_an_alarm_at_their_site_and_date(watched: Path) -> None:
    (alarm,) = rows(watched, "alarms")
    assert (alarm["site"], alarm["kind"], alarm["channel"]) == ("east", "concept", "concept")
    assert alarm["since_window"] == "2020-08-28"
    assert "mean dice: 0.8" in alarm["evidence"]
    assert alarm["posterior"] is None


def test_figures_of_outlines_stand_under_their_window(watched: Path) -> None:
    for name, near in (("dice_mean", 0.875), ("nsd_mean", 0.89), ("hd95_p50", 2.3)):
        found = rows(watched, "metrics", split="window", metric=name, site="north")
        assert len(found) == LAST + 1, name
        assert np.mean([row["value"] for row in found]) == pytest.approx(near, rel=0.05)
        assert all(row["lo"] <= row["value"] <= row["hi"] for row in found)


def test_the_report_of_outlines_is_written_whole(watched: Path) -> None:
    text = write_report(watched).read_text(encoding="utf-8")
    assert "mean dice: 0.8" in text
