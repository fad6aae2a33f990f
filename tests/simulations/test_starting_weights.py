"""Starting weights and freezing through a whole study, messages, noise and all."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tiny_study import (
    EXACT,
    SEED,
    SITES,
    TinyStudy,
    copy_study,
    tiny_plan,
    tiny_scenario,
    tiny_task,
)
from tiny_study import federate as run_study

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.setup import RunSetup
from aggregator.store import Store
from fedrad.contract import read_contract
from fedrad.durable import file_digest
from fedrad.models.networks import build
from fedrad.parameters import (
    Parameters,
    digest,
    frozen,
    read_safetensors,
    trainable,
    whole,
    write_safetensors,
)
from fedrad.provenance import Provenance, write_provenance
from fedrad.starting_weights import pinned, starting_model
from fedrad.task import Task, read_task, task_hash
from simulations import premises
from simulations.arms import Study, train_alone, train_federated
from simulations.engines import run_local
from simulations.runner import SimulatedSites, agree
from simulations.scenario import Limits
from simulations.screen import Screen
from site_client.app import client_app
from site_client.dataset import load_split
from site_client.study import CONTRACT, TASK, study_folder

NAME = "start.safetensors"


def write_start(folder: Path) -> Provenance:
    """Write a network of another seed as starting weights."""
    write_safetensors(folder / NAME, whole(build(tiny_task(), seed=SEED + 1)))
    known = Provenance(source="s", data="d", licence="l", digest=file_digest(folder / NAME))
    write_provenance(folder / NAME, known)
    return known


def sign(run: Path, task: Task, study: TinyStudy) -> TinyStudy:
    """Sign a task with starting weights at every hospital of ``study``."""
    limits = {site: Limits(epsilon_limit=50.0, min_patients=1) for site in SITES}
    for site in SITES:
        premises.open_home(run, site, tiny_scenario(limits=limits), task, seed=SEED)
    start = pinned(task, starting_model(task, seed=SEED, beside=run))
    contract = replace(study.contract, task_hash=task_hash(task), starting=start)
    premises.sign(run, task, contract)
    return TinyStudy(run, task, contract)


def start_study(hospitals: Path, run: Path) -> TinyStudy:
    """Sign a private study that starts from weights and trains its last layer alone."""
    plain = copy_study(hospitals, run)
    known = write_start(run)
    model = replace(plain.task.model, initial=NAME, provenance=known, trained="last")
    return sign(run, replace(plain.task, model=model), plain)


@pytest.fixture
def started(hospitals: Path, tmp_path: Path) -> TinyStudy:
    return start_study(hospitals, tmp_path / "run")


@pytest.fixture(scope="module")
def ended(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of such a study, after its two rounds."""
    folder = tmp_path_factory.mktemp("started")
    federate(start_study(hospitals, folder / "run"), folder / "out")
    return folder / "out"


def federate(study: TinyStudy, out: Path) -> None:
    first = starting_model(study.task, seed=SEED, beside=study.run)
    setup = RunSetup(
        folder=out,
        task=study.task,
        contract=study.contract,
        initial=partial(whole, first),
        frozen=frozenset(frozen(first)),
        seed=SEED,
    )
    factory = partial(client_app, SimulatedSites(study.run, SITES, SEED))
    run_local(server_app(setup), SITES, factory, workers=0)


def test_the_frozen_part_keeps_its_weights_to_the_bit_under_noise(ended: Path) -> None:
    first = whole(build(tiny_task(), seed=SEED + 1))
    final = checkpoints.read_released(ended, 2)
    moved = {name for name in first if (final[name] != first[name]).any()}
    assert moved == {"head.4.weight", "head.4.bias"}
    with Store(ended / "run.sqlite") as store:
        replies = store.frame("replies")
    assert set(replies["outcome"]) == {"done"}
    assert set(replies["phase"]) == {"train", "evaluate"}


def test_an_update_holds_the_trained_tensors_alone(ended: Path) -> None:
    for site in SITES:
        update = read_safetensors(checkpoints.reply_path(ended, 1, site))
        assert list(update) == ["head.4.weight", "head.4.bias"]


def test_a_site_evaluates_the_weights_that_the_task_pins(started: TinyStudy) -> None:
    """The site builds its network from the message alone: it never has the file."""
    (started.run / NAME).unlink()
    first = read_whole(started)
    request = started.ask("train", model_digest=digest(first))
    site = started.site("east")
    assert site.answer(request, first).outcome == "done"
    held = whole(next(iter(site._modules.values())))
    assert all((held[name] == first[name]).all() for name in first if "head.4" not in name)


@pytest.mark.parametrize("tensor", ["head.0.weight", "head.4.bias"])
def test_a_site_charges_nothing_for_another_first_model(started: TinyStudy, tensor: str) -> None:
    first = read_whole(started)
    other = first | {tensor: first[tensor] + 1}
    reply = started.site("east").answer(started.ask("train", model_digest=digest(other)), other)
    assert (reply.outcome, reply.reason_code) == ("refused", "contract-changed")
    assert not reply.events
    assert not reply.update


def read_whole(study: TinyStudy) -> Parameters:
    """Return the first model as the aggregator sends it."""
    like = whole(build(tiny_task(), seed=SEED + 1))
    assert study.contract.starting is not None
    assert digest(like) == study.contract.starting.model
    return like


def test_every_arm_starts_from_the_weights_and_freezes_alike(
    started: TinyStudy, tmp_path: Path
) -> None:
    first = read_whole(started)
    write_safetensors(tmp_path / "first.safetensors", first)
    task = replace(started.task, privacy=replace(started.task.privacy, enabled=False))
    path = tmp_path / "first.safetensors"
    arms = Study(task=task, contract=started.contract, seed=SEED, start=path)
    east = load_split(started.home("east"), task, "train")
    for model in (
        train_alone(arms, "east", east, rate=0.2),
        train_federated(arms, dict.fromkeys(SITES, east), rate=0.2),
    ):
        moved = {name for name in first if (model[name] != first[name]).any()}
        assert moved == {"head.4.weight", "head.4.bias"} == set(trainable(arms.module()))


def test_averaging_in_this_process_is_the_engine_s(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "r", *EXACT, "federation.average=0.5")
    run_study(study, tmp_path / "out", workers=0)
    released = checkpoints.read_released(tmp_path / "out", 2)
    sources = {site: load_split(study.home(site), study.task, "train") for site in SITES}
    arms = Study(task=study.task, contract=study.contract, seed=SEED)
    model = train_federated(arms, sources, rate=study.task.training.optimiser.rate)
    for name, tensor in model.items():
        assert tensor == pytest.approx(released[name], abs=1e-6)


def test_a_simulation_pins_in_the_contract_what_it_then_sends(started: TinyStudy) -> None:
    plan = replace(tiny_plan(started.run), task=started.task, beside=started.run)
    stock = [premises.take_stock(started.run, site, started.task) for site in SITES]
    contract = agree(plan, stock, Screen(quiet=True))
    assert contract.starting == started.contract.starting is not None
    folder = study_folder(started.home("east"), contract.study)
    assert read_contract(folder / CONTRACT) == contract
    assert task_hash(read_task(folder / TASK)) == contract.task_hash
