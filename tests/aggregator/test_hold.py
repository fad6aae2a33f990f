"""The validation gate and a person's rollback: models go back, rounds keep their numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_resume import die_at, flip, run, stop_after
from tiny_federation import SITES, tiny_setup, tiny_task
from typer.testing import CliRunner

from aggregator import checkpoints, first_screen, measures
from aggregator.begin import alone_in
from aggregator.cli import app
from aggregator.correspondence import NAME
from aggregator.hold import fallen
from aggregator.lineage import lineage, standing_round
from aggregator.run_folder import read_run
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Metric
from fedrad import audit_log
from fedrad.errors import DamagedStateError, RunError
from fedrad.parameters import digest
from fedrad.task import Task

BETTER, WORSE = (0.80, 0.90), (0.50, 0.60)
HIGH = dict.fromkeys(SITES, BETTER)


@pytest.mark.parametrize(
    ("fell", "measured", "held"),
    [
        (0, 4, False),
        (1, 4, False),  # one site may have had a bad day
        (1, 1, False),
        (2, 2, True),
        (2, 6, True),
        (2, 7, False),  # under a third
        (3, 7, True),
    ],
)
def test_a_round_is_held_if_the_metric_falls_at_two_sites_and_at_a_third(
    fell: int, measured: int, held: bool
) -> None:
    sites = [f"s{number}" for number in range(measured)]
    now = {site: WORSE if place < fell else BETTER for place, site in enumerate(sites)}
    assert bool(fallen(dict.fromkeys(sites, BETTER), now, "auroc")) is held


def test_intervals_that_touch_explain_a_fall() -> None:
    now = dict.fromkeys(SITES, (0.5, 0.8))
    assert fallen(HIGH, now, "auroc") == ()
    assert fallen(now, HIGH, "failure_rate") == ()
    assert fallen(dict.fromkeys(SITES, WORSE), HIGH, "failure_rate") == SITES


def test_sites_that_were_measured_once_do_not_count() -> None:
    assert fallen({"east": BETTER}, dict.fromkeys(SITES, WORSE), "auroc") == ()


def figures(falls: Mapping[int, tuple[str, ...]]) -> Any:
    """Return what scores every site high, but in some rounds some sites low."""

    def score(number: int, sums: Mapping[str, object]) -> list[Metric]:
        low = falls.get(number, ())
        return [row(number, site, WORSE if site in low else BETTER) for site in sums]

    return score


def row(number: int, site: str, interval: tuple[float, float]) -> Metric:
    return Metric(
        round=number, site=site, data_site=site, split="audit", metric="auroc",
        value=sum(interval) / 2, lo=interval[0], hi=interval[1], n=20.0, method="exact",
    )  # fmt: skip


def gated(**federation: Any) -> Task:
    """Return the tiny task, measured after each of its four rounds."""
    task = tiny_task(**{"rounds": 4, "rule": {"name": "mean", "ceiling": 1e9}} | federation)
    return replace(task, evaluation=replace(task.evaluation, every_rounds=1))


TWO = {3: ("south", "west")}


def setup_of(folder: Path, falls: Mapping[int, tuple[str, ...]] = TWO, **own: Any) -> RunSetup:
    return tiny_setup(folder, gated(**own), on_release=figures(falls))


def table(folder: Path, name: str) -> pd.DataFrame:
    with Store(folder / "run.sqlite") as store:
        return store.frame(name)


def model(folder: Path, number: int) -> str:
    return digest(checkpoints.read_round(folder, number)[1])


def test_a_held_round_stays_in_the_history_and_the_next_one_begins_before_it(
    tmp_path: Path,
) -> None:
    run(setup_of(tmp_path))
    assert table(tmp_path, "rounds")["state"].tolist() == ["evaluated"] * 4
    (event,) = table(tmp_path, "events").query("kind == 'held'").to_dict("records")
    detail = json.loads(event["detail_json"])
    assert (event["round"], detail["back_to"], detail["measured"]) == (3, 2, 4)
    assert sorted(detail["sites"]) == ["south", "west"]
    assert model(tmp_path, 4) == model(tmp_path, 3)  # both are made of round 2's model
    assert model(tmp_path, 4) != model(tmp_path, 2)
    assert standing_round(tmp_path) == 4
    decided = table(tmp_path, "actions").iloc[0]
    assert (decided["action"], decided["decided_by"]) == ("hold", "gate")
    assert table(tmp_path, "releases")["decision"].tolist() == ["harm"]


def test_the_last_round_is_held_too_and_the_run_ends_on_the_one_before(tmp_path: Path) -> None:
    run(setup_of(tmp_path, {4: SITES}))
    assert standing_round(tmp_path) == 3
    found = read_run(tmp_path)
    assert measures.last_release(found) == 3
    held = [fact for fact in first_screen.facts(found, ()) if fact.key == "turned back"]
    assert "Round 4 was held: AUROC fell at 4 of 4 sites" in held[0].text


def test_one_site_alone_holds_nothing(tmp_path: Path) -> None:
    run(setup_of(tmp_path, {3: ("west",)}))
    assert standing_round(tmp_path) == 4
    assert "held" not in set(table(tmp_path, "events")["kind"])


def test_the_first_measured_round_has_nothing_to_fall_from(tmp_path: Path) -> None:
    run(setup_of(tmp_path, {1: SITES}))
    assert "held" not in set(table(tmp_path, "events")["kind"])


AVERAGED: dict[str, Any] = {
    "strategy": {"name": "fedadam", "rate": 0.1},
    "average": 0.5,
    "spare_rounds": 1,
}


def test_a_death_at_any_write_of_a_run_with_a_held_round_costs_nothing(tmp_path: Path) -> None:
    run(setup_of(tmp_path / "whole", **AVERAGED))
    died = 0
    for point in range(5, 1000, 31):
        own = setup_of(tmp_path / str(point), **AVERAGED)
        if not die_at(own, point):
            break
        died += 1
        if table(own.folder, "runs")["status"].tolist() != ["done"]:
            run(own)
        assert model(own.folder, 4) == model(tmp_path / "whole", 4)
        kinds = table(own.folder, "events")["kind"].tolist()
        assert kinds.count("held") == 1
    assert died >= 3


def decide(folder: Path, number: int, *more: str) -> Any:
    words = ("rollback", str(number), "--by", "Dr Lee", "--reason", "artefacts at two sites")
    return CliRunner().invoke(app, [*words, "--run", str(folder), *more], env={"FEDRAD_HOME": None})


def stopped(folder: Path, number: int) -> RunSetup:
    """Return the run of four rounds, with momentum and an average, stopped after some."""
    return stop_after(folder, gated(**AVERAGED), number)


def test_a_rollback_sets_the_model_back_for_the_rounds_that_follow(tmp_path: Path) -> None:
    setup = stopped(tmp_path, 3)
    done = decide(tmp_path, 1, "--json")
    assert json.loads(done.stdout)["model_digest"] == model(tmp_path, 1)
    run(setup)
    assert model(tmp_path, 4) == model(tmp_path, 2)  # both are made of round 1's model
    averages = [digest(checkpoints.read_average(tmp_path, number)) for number in (4, 2)]
    assert averages[0] == averages[1]
    assert sorted(table(tmp_path, "rounds")["round"]) == [1, 2, 3, 4]
    found = read_run(tmp_path)
    line = lineage(found.tables["rounds"], found.tables["events"])
    assert (line.line, line.left) == ((1, 4), {2, 3})


def test_a_rollback_is_in_the_record_the_history_and_the_report(tmp_path: Path) -> None:
    stopped(tmp_path, 3)
    decide(tmp_path, 2)
    (line,) = (one for one in audit_log.read(tmp_path / NAME) if one["kind"] == "rolled back")
    assert (line["by"], line["from_round"], line["round"]) == ("Dr Lee", 3, 2)
    action, release = (table(tmp_path, name).iloc[0] for name in ("actions", "releases"))
    assert (action["action"], action["decided_by"]) == ("rollback", "Dr Lee")
    assert (release["round"], release["model_digest"]) == (2, model(tmp_path, 2))
    said = [fact.text for fact in first_screen.facts(read_run(tmp_path), ())]
    assert "Dr Lee set the model back to that of round 2: artefacts at two sites." in said


@pytest.mark.parametrize("damage", ["nothing", "the newest", "both"])
def test_a_run_that_was_rolled_back_and_cut_again_has_the_same_bits(
    tmp_path: Path, damage: str
) -> None:
    setup = stopped(tmp_path, 2)
    wanted = model(tmp_path, 2)
    decide(tmp_path, 1)
    stopped(tmp_path, 3)
    assert model(tmp_path, 3) == wanted
    for number in {"nothing": (), "the newest": (3,), "both": (1, 3)}[damage]:
        flip(checkpoints.model_path(tmp_path, number))
    run(setup)
    assert model(tmp_path, 3) == wanted
    assert table(tmp_path, "runs")["status"].tolist() == ["done"]
    assert standing_round(tmp_path) == 4


def test_a_rollback_to_the_first_model_begins_anew(tmp_path: Path) -> None:
    setup = stopped(tmp_path, 2)
    decide(tmp_path, 0)
    run(setup)
    assert model(tmp_path, 3) == model(tmp_path, 1)


def test_a_round_that_was_open_becomes_void(tmp_path: Path) -> None:
    setup = stopped(tmp_path, 2)
    with Store(tmp_path / "run.sqlite") as store:
        store.start_round(3)
    decide(tmp_path, 1)
    assert table(tmp_path, "rounds")["state"].tolist()[2] == "void"
    run(setup)
    assert model(tmp_path, 4) == model(tmp_path, 2)


@pytest.mark.parametrize(
    ("number", "why"), [(9, "made no model; these did: 0, 1, 2"), (2, "stands on the model")]
)
def test_only_another_round_that_made_a_model_is_gone_back_to(
    tmp_path: Path, number: int, why: str
) -> None:
    stopped(tmp_path, 2)
    assert isinstance(error := decide(tmp_path, number).exception, RunError)
    assert why in str(error)
    assert "rolled-back" not in set(table(tmp_path, "events")["kind"])


def test_a_run_that_goes_on_or_a_damaged_round_is_not_rolled_back(tmp_path: Path) -> None:
    stopped(tmp_path, 2)
    with alone_in(tmp_path):
        assert "another process runs the rounds" in str(decide(tmp_path, 1).exception)
    flip(checkpoints.model_path(tmp_path, 1))
    assert isinstance(decide(tmp_path, 1).exception, DamagedStateError)
