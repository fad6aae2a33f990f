"""Between two releases a hospital sees each model on its own patients, and nobody else does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from tiny_study import SEED, TinyStudy

from fedrad.models.networks import build
from fedrad.parameters import Parameters, digest, load_whole
from site_client import audit, own_figures
from site_client.dataset import load_split
from site_client.measure import measure_split
from site_client.node import runner
from site_client.round import Site, SiteRuntime


@pytest.fixture
def site(study: TinyStudy) -> Site:
    """The hospital's program after it trained in round 2."""
    found = site_of(study)
    assert found.answer(study.ask("train", 2), study.model).outcome == "done"
    return found


def site_of(study: TinyStudy) -> Site:
    return Site(SiteRuntime(study.home(), SEED, looks=True))


def written(home: Path) -> dict[str, bytes]:
    """Everything that could tell of a patient to somebody else, or cost anything."""
    paths = [home / "ledger.jsonl", home / "audit.jsonl", *(home / "state/replies").iterdir()]
    return {str(path): path.read_bytes() for path in paths}


def test_the_model_that_came_is_measured_and_nothing_leaves(study: TinyStudy, site: Site) -> None:
    before = written(study.home())
    site.look(lambda: False)
    (found,) = own_figures.read_figures(study.home())
    assert (found.round, found.released) == (1, False)
    assert kept(study, "blocks") == sums(study, study.model)
    assert found.without == {}  # it had no part in round 1
    assert written(study.home()) == before


def sums(study: TinyStudy, model: Parameters) -> dict[str, list[float]]:
    """Measure a model on the audit patients from scratch."""
    module, source = build(study.task, seed=0), load_split(study.home(), study.task, "audit")
    load_whole(module, model)
    return {b.name: b.values.tolist() for b in measure_split(module, source, study.task)}


def kept(study: TinyStudy, name: str) -> dict[str, list[float]]:
    (path,) = (study.home() / own_figures.FOLDER).glob("*.json")
    return {row["name"]: row["values"] for row in json.loads(path.read_text())[name]}


def test_the_next_model_is_also_measured_without_the_part_of_this_hospital(
    study: TinyStudy, site: Site
) -> None:
    """Four hospitals of as many patients: w = (v + 3 u) / 4, so u is what the others made."""
    reply = site.answer(study.ask("train", 2), study.model)
    site.look(lambda: False)
    own = {name: study.model[name] + moved for name, moved in reply.update.items()}
    others = {n: (-own[n] / 5).astype(t.dtype) if n in own else t for n, t in study.model.items()}
    whole = {
        n: ((own[n] + 3 * t) / 4).astype(t.dtype) if n in own else t for n, t in others.items()
    }
    came = digest(whole)
    for phase, number, again in (("evaluate", 2, site), ("train", 3, site_of(study))):
        assert again.answer(study.ask(phase, number, model_digest=came), whole).outcome == "done"
        again.look(lambda: False)
        (found,) = own_figures.read_figures(study.home())
        assert (found.round, found.released) == (2, phase == "evaluate")
        assert found.without.keys() == {metric.name for metric in found.metrics}
        assert kept(study, "without") == sums(study, others)
        assert kept(study, "blocks") == sums(study, whole) != sums(study, others)


def test_a_round_that_gave_no_model_has_no_part_to_leave_out(study: TinyStudy, site: Site) -> None:
    site.look(lambda: False)
    assert site.answer(study.ask("train", 3), study.model).outcome == "done"
    site.look(lambda: False)
    (found,) = own_figures.read_figures(study.home())
    assert (found.round, found.without) == (2, {})
    assert len(list((study.home() / own_figures.FOLDER).glob("*.safetensors"))) == 1


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


def test_a_model_that_cannot_be_measured_is_a_warning(study: TinyStudy, site: Site) -> None:
    (study.home() / own_figures.FOLDER.parent).mkdir(exist_ok=True)
    (study.home() / own_figures.FOLDER).write_text("a file in the place of the folder")
    site.look(lambda: False)
    assert "the model was not measured for this screen" in audit.read(study.home())[-1]["sentence"]


def test_who_withdrew_meanwhile_is_not_looked_at(study: TinyStudy, site: Site) -> None:
    site.look(lambda: True)  # a question came first
    path = study.home() / "site.toml"
    path.write_text(path.read_text().replace(study.contract.task_hash, "0" * 64))
    site.look(lambda: False)
    assert own_figures.read_figures(study.home()) == ()
    assert "is not in [approval] studies" in audit.read(study.home())[-1]["sentence"]


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
