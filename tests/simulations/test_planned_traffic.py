"""The bytes that a plan foresees are those that a whole run recorded for its replies."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_study import EXACT, tiny_task

from aggregator.run_folder import read_run
from fedrad.models.networks import build
from fedrad.parameters import whole
from fedrad.planning.traffic import traffic
from fedrad.protocol.messages import Phase
from fedrad.task import read_task
from simulations.scenario import read_scenario


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_replies_of_a_run_have_the_size_that_was_planned(finished: Path, phase: Phase) -> None:
    """Within 3 %, or 100 bytes: noise has other digits, names have other lengths."""
    task = read_task(finished / "task.toml")
    planned = traffic(task, build(task, seed=0))
    rows = read_run(finished).tables["replies"]
    done = [row for row in rows if row["phase"] == phase and row["outcome"] == "done"]
    assert done
    for row in done:
        wanted = planned.update if phase == "train" else planned.report
        assert row["bytes"] == pytest.approx(wanted, rel=0.03, abs=100)


def test_a_model_is_weighed_whole_and_an_update_without_what_is_frozen() -> None:
    task = read_scenario("four_hospitals")[1]
    module = build(task, seed=0)
    before = traffic(task, module)
    next(iter(module.parameters())).requires_grad_(False)  # torch's own
    after = traffic(task, module)
    size = next(iter(whole(module).values())).nbytes
    assert after.model == before.model
    assert 0 <= before.update - after.update - size < 200  # the frozen tensor and its header


def test_a_study_moves_its_rounds_and_its_releases() -> None:
    task = tiny_task("federation.rounds=6", "evaluation.every_rounds=2")
    found = traffic(task, build(task, seed=0))
    assert (found.rounds, found.releases) == (6, 3)
    assert found.study == 6 * (found.model + found.update) + 3 * (found.model + found.report)
    assert traffic(tiny_task(*EXACT), build(task, seed=0)).report > found.report  # block exact
