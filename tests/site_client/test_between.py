"""Between two releases a hospital sees each model on its own patients, and nobody else does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_study import TinyStudy

from fedrad.metrics.measure import measure
from fedrad.models.networks import build
from fedrad.parameters import load_whole
from site_client import audit, own_figures
from site_client.dataset import load_split
from site_client.measure import measure_split
from site_client.node import runner
from site_client.round import Site


@pytest.fixture
def site(study: TinyStudy) -> Site:
    """The hospital's program after it trained in round 2."""
    found = study.site()
    assert found.answer(study.ask("train", 2), study.model).outcome == "done"
    return found


def written(home: Path) -> dict[str, bytes]:
    """Everything that could tell of a patient to somebody else, or cost anything."""
    paths = [home / "ledger.jsonl", home / "audit.jsonl", *(home / "state/replies").iterdir()]
    return {str(path): path.read_bytes() for path in paths}


def test_the_model_that_came_is_measured_and_nothing_leaves(study: TinyStudy, site: Site) -> None:
    before = written(study.home())
    site.look(lambda: False)
    (found,) = own_figures.read_figures(study.home())
    assert (found.round, found.released) == (1, False)
    module, source = build(study.task, seed=0), load_split(study.home(), study.task, "audit")
    load_whole(module, study.model)
    sums = measure_split(module, source, study.task)
    again = measure(sums, study.task, np.random.default_rng(0))
    assert [(m.name, m.value) for m in found.metrics] == [(m.name, m.value) for m in again]
    assert written(study.home()) == before


def test_a_question_is_answered_first_and_the_look_begins_anew(
    study: TinyStudy, site: Site
) -> None:
    left = [False, False, True]
    site.look(lambda: left.pop(0) if left else True)
    assert left == []
    assert own_figures.read_figures(study.home()) == ()
    assert site.answer(study.ask("train", 3), study.model).outcome == "done"
    site.look(lambda: False)
    (found,) = own_figures.read_figures(study.home())
    assert found.round == 2


def test_a_released_model_is_not_measured_twice(study: TinyStudy, site: Site) -> None:
    assert site.answer(study.ask("evaluate", 2), study.model).outcome == "done"
    (path,) = (study.home() / own_figures.FOLDER).iterdir()
    path.unlink()
    site.look(lambda: False)
    assert own_figures.read_figures(study.home()) == ()


def test_a_model_that_cannot_be_measured_is_a_warning(study: TinyStudy, site: Site) -> None:
    (study.home() / own_figures.FOLDER.parent).mkdir(exist_ok=True)
    (study.home() / own_figures.FOLDER).write_text("a file in the place of the folder")
    site.look(lambda: False)
    assert "could not be measured for this screen" in audit.read(study.home())[-1]["sentence"]


def test_the_runner_looks_until_its_launcher_writes(
    study: TinyStudy, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = os.pipe()
    with os.fdopen(inside) as lines, os.fdopen(outside, "w") as launcher:
        monkeypatch.setattr(sys, "stdin", lines)
        print("a task", file=launcher, flush=True)
        runner._look(site)
        assert own_figures.read_figures(study.home()) == ()
        assert lines.readline() == "a task\n"
        runner._look(site)
    assert len(own_figures.read_figures(study.home())) == 1
