"""Windows of a model in use: collected once, judged together, alarms named and dated."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message
from tiny_federation import SITES, TinySites, honest_reply, initial_model, tiny_contract, tiny_task
from typer.testing import CliRunner
from window_patients import THERE, patients

from aggregator import decisions, promotion, report
from aggregator.app import server_app
from aggregator.cli import app
from aggregator.run_folder import read_run
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch import Collected
from aggregator.watch_app import watch_app
from fedrad.clock import SystemClock
from fedrad.errors import RunError
from fedrad.monitoring import Monitoring
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Block
from fedrad.shift.agreed import RECORD, layout_of
from fedrad.shift.blocks import whole_window
from fedrad.shift.tags import counted
from fedrad.site_report import noised
from fedrad.task import Task, task_hash
from simulations.engines import run_local

SIGMA, LAST, CHANGED = 2.0, 11, 10  # windows are counted from 1
WHO = decisions.Decider(by="Dr. Test", reason="for the test")


def watched_task() -> Task:
    task = tiny_task()
    return replace(
        task,
        privacy=replace(task.privacy, enabled=True, delta=1e-5),
        evaluation=replace(task.evaluation, release="private"),
        monitoring=Monitoring(begins="2020-01-01", days=30, windows=LAST, strata=("sex",)),
    )


@lru_cache(maxsize=128)
def sums(site: str, number: int) -> tuple[Block, ...]:
    """A window of 200 patients; east has another scanner from ``CHANGED`` on, west always."""
    task = watched_task()
    rng = np.random.default_rng([SITES.index(site), number])
    other = (site == "east" and number >= CHANGED) or site == "west"
    seen, labels = patients(rng, brighter=0.5 if other else 0.0)
    if other:
        rows = np.tile(counted(layout_of(task).tags, THERE), (len(labels), 1))
        seen = replace(seen, tags=rows)
    key = bytes([SITES.index(site), number]) + bytes(30)
    exact = whole_window(seen, labels, layout_of(task))
    return noised(exact, sigma=SIGMA, rng=noise_source(key))


class WatchedSites(TinySites):
    """The tiny sites, which also answer about windows; ``silent`` does not."""

    silent = ""

    def answer(self, message: Message, context: Context) -> Message:
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        if request.phase != "window":
            return super().answer(message, context)
        if site == self.silent:
            raise OSError("the hospital's line is cut")
        reply = replace(honest_reply(request, model, site), blocks=sums(site, request.round))
        return encode_reply(reply, message)


class WithoutEast(WatchedSites):
    """The same with one hospital that does not answer."""

    silent = "east"


def setup(folder: Path) -> RunSetup:
    task = watched_task()
    contract = tiny_contract(task)
    terms = {site: replace(t, window_sigma=SIGMA) for site, t in contract.sites.items()}
    contract = replace(contract, schema=2, task_hash=task_hash(task), sites=terms)
    return RunSetup(folder=folder, task=task, contract=contract, initial=initial_model)


def with_external(given: RunSetup, site: str) -> RunSetup:
    terms = given.contract.sites
    terms = terms | {site: replace(terms[site], kind="evaluate")}
    return replace(given, contract=replace(given.contract, sites=terms))


def collect(
    folder: Path, factory: type[TinySites] = WatchedSites, *, external: str = ""
) -> Collected:
    found: list[Collected] = []
    asked = with_external(setup(folder), external) if external else setup(folder)
    run_local(watch_app(asked, found.append), SITES, factory(), workers=0)
    return found[0]


def rows(folder: Path, table: str, **equal: str) -> list[dict]:
    with Store(folder / "run.sqlite") as store:
        return store.rows(table, **equal)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_local(server_app(setup(folder)), SITES, WatchedSites(), workers=0)
    return folder


@pytest.fixture(scope="module")
def watched(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched") / "run"
    shutil.copytree(trained, folder)
    place = decisions.place_of(None, "", folder)
    with pytest.raises(RunError, match="no model is in use"):
        collect(folder)
    found = promotion.promote(place, 3, WHO, SystemClock(), insists=True)
    assert (found.said, found.in_use) == ("cannot tell", True)
    collect(folder)
    return folder


def test_every_window_that_is_over_is_collected_once(watched: Path) -> None:
    windows = {row["window"] for row in rows(watched, "reports") if row["window"]}
    assert len(windows) == LAST + 1
    assert RECORD in windows
    assert collect(watched) == Collected((), ())


def test_figures_that_a_death_left_out_are_computed_with_the_next_call(
    watched: Path, tmp_path: Path
) -> None:
    """All sites told the window; the program died before it wrote what they add up to."""
    folder = tmp_path / "run"
    shutil.copytree(watched, folder)
    before = rows(folder, "metrics", window="2020-01-01")
    with closing(sqlite3.connect(folder / "run.sqlite")) as database, database:
        database.execute("DELETE FROM metrics WHERE \"window\" = '2020-01-01'")
    assert before
    assert rows(folder, "metrics", window="2020-01-01") == []
    assert collect(folder) == Collected((), ())
    assert sorted(map(str, rows(folder, "metrics", window="2020-01-01"))) == sorted(
        map(str, before)
    )


def test_a_new_scanner_is_an_alarm_of_its_kind_at_its_site_and_date(watched: Path) -> None:
    (alarm,) = rows(watched, "alarms")
    assert (alarm["site"], alarm["kind"], alarm["channel"]) == ("east", "acquisition", "image")
    assert alarm["since_window"] == "2020-09-27"
    assert alarm["window"] == "2020-10-27"
    assert "mean grey level +" in alarm["evidence"]
    assert "manufacturer: " in alarm["evidence"]
    assert alarm["posterior"] > 0.9
    (event,) = rows(watched, "events", kind="diagnosis")
    detail = json.loads(event["detail_json"])
    assert (detail["site"], detail["kind"]) == ("east", "acquisition")
    assert sum(detail["posterior"].values()) == pytest.approx(1.0)
    drop = detail["drop"]
    assert sum(part["value"] for part in drop["parts"]) == pytest.approx(
        drop["after"] - drop["before"]
    )


def test_an_alarm_is_proposed_to_a_person(watched: Path) -> None:
    found = rows(watched, "actions")
    assert {row["action"] for row in found} == {"ask-about-scanner", "recalibrate"}
    assert {row["decision"] for row in found} == {"proposed"}
    (made,) = [
        json.loads(row["parameters_json"]) for row in found if row["action"] == "recalibrate"
    ]
    assert set(made) == {"intercept", "slope"}


def test_figures_of_a_window_stand_beside_those_of_rounds(watched: Path) -> None:
    found = rows(watched, "metrics", split="window", metric="auroc", site="north")
    assert len(found) == LAST + 1
    assert all(row["lo"] <= row["value"] <= row["hi"] for row in found)


def test_the_report_shows_subgroups_over_all_hospitals(watched: Path) -> None:
    page = report.render(replace(read_run(watched), task=watched_task()))
    assert "Women and men, young and old" in page
    assert "Sensitivity is lowest in sex:" in page
    assert 'scope="row" role="rowheader">sex: F</th>' in page


def test_standing_differences_are_rows_without_a_sum_and_never_alarms(watched: Path) -> None:
    found = {r["site"]: r for r in rows(watched, "shifts", window=RECORD, channel="acquisition")}
    assert found["west"]["p"] < 0.01 < found["north"]["p"]
    assert found["west"]["threshold"] is None
    assert not rows(watched, "alarms", site="west")


def patients_told(folder: Path, window: str) -> dict[str, float]:
    found = rows(folder, "metrics", split="window", window=window, metric="n")
    return {row["site"]: row["value"] for row in found}


def test_a_hospital_that_was_away_is_asked_again_and_counted_with_the_others(
    trained: Path, tmp_path: Path
) -> None:
    """Those who only evaluate are told by themselves, as after a round."""
    folder, window = tmp_path / "run", "2020-03-31"
    shutil.copytree(trained, folder)
    place = decisions.place_of(None, "", folder)
    promotion.promote(place, 3, WHO, SystemClock(), insists=True)
    collect(folder, WithoutEast, external="west")
    missing = {row["site"] for row in rows(folder, "reports") if row["window"]}
    assert missing == {"north", "south", "west"}
    before = patients_told(folder, window)
    assert collect(folder, external="west").alarms[0].site == "east"
    after = patients_told(folder, window)
    assert set(after) == {"east", "north", "south", "west", "*", "macro"}
    both = before["north"] + before["south"]
    assert before["*"] == pytest.approx(both, abs=20)
    assert after["*"] == pytest.approx(both + after["east"], abs=20)
    assert after["macro"] == pytest.approx((both + after["east"]) / 3)


def test_the_gate_needs_a_person_where_nothing_was_compared(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    words = ["promote", "3", "--run", str(folder), "--by", "Dr. Test", "--reason", "why", "--json"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["answer"] == "cannot tell"
    assert CliRunner().invoke(app, [*words, "--decide"]).exit_code == 0
    (row,) = rows(folder, "releases")
    assert (row["decision"], row["by"]) == ("promote", "Dr. Test")
    again = CliRunner().invoke(app, words)
    assert (again.exit_code, json.loads(again.stdout)["answer"]) == (0, "in use already")
    assert rows(folder, "releases") == [row]


def test_monitor_prints_the_alarms_and_ends_with_one(watched: Path) -> None:
    found = CliRunner().invoke(app, ["monitor", "--run", str(watched)])
    assert found.exit_code == 1
    assert "east: acquisition since the window of 2020-09-27" in found.stdout
