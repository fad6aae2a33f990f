"""A run that averages its models measures the average and trains on the last model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_federation import SITES, TinySites, tiny_contract, tiny_setup, tiny_task

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.checkpoints import read_average, read_released, read_round
from aggregator.setup import RunSetup
from aggregator.store import Store
from fedrad.contract import StartingModel
from fedrad.durable import verify_manifest
from fedrad.errors import RunError
from fedrad.parameters import Parameters, digest
from simulations.engines import run_local


def run(setup: RunSetup) -> None:
    run_local(server_app(setup), SITES, TinySites(SITES), workers=0)


def table(setup: RunSetup, name: str) -> pd.DataFrame:
    with Store(setup.folder / "run.sqlite") as store:
        return store.frame(name)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> RunSetup:
    setup = tiny_setup(tmp_path_factory.mktemp("averaged"), tiny_task(average=0.5))
    run(setup)
    return setup


def models(setup: RunSetup) -> list[Parameters]:
    return [read_round(setup.folder, number)[1] for number in (1, 2, 3)]


def test_training_is_that_of_a_run_without_an_average(averaged: RunSetup, tmp_path: Path) -> None:
    plain = tiny_setup(tmp_path)
    run(plain)
    assert [digest(m) for m in models(averaged)] == [digest(m) for m in models(plain)]
    assert read_average(plain.folder, 3) == {}
    assert digest(read_released(plain.folder, 3)) == digest(models(plain)[-1])


def test_what_is_measured_and_released_is_the_average(averaged: RunSetup) -> None:
    one, two, three = (model["a"] for model in models(averaged))
    released = read_released(averaged.folder, 3)
    np.testing.assert_allclose(released["a"], (one + 2 * two + 4 * three) / 7, rtol=1e-6)
    asked = table(averaged, "reports").query("round == 3")["model_digest"].unique()
    assert list(asked) == [digest(released)] != [digest(models(averaged)[-1])]


def test_the_average_is_under_the_round_s_manifest_and_not_before_round_1(
    averaged: RunSetup,
) -> None:
    names = [verify_manifest(checkpoints.round_folder(averaged.folder, n)) for n in (0, 1)]
    assert ["average.safetensors" in found for found in names] == [False, True]


def test_an_update_that_touches_a_frozen_parameter_is_refused(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, tiny_task(bad_replies=9), frozen=frozenset({"b"}))
    with pytest.raises(RunError, match="rounds reached the quorum"):
        run(setup)
    problems = table(setup, "events").query("kind == 'reply-refused'")["detail_json"]
    assert len(problems) == 3 * len(SITES)  # every site, in every round
    assert problems.str.contains("they differ in").all()


def test_a_run_from_another_model_than_the_contract_pins_does_not_start(tmp_path: Path) -> None:
    starting = StartingModel(model="a" * 64, frozen="")
    contract = replace(tiny_contract(tiny_task()), starting=starting)
    with pytest.raises(RunError, match="pins other starting weights"):
        run(tiny_setup(tmp_path, contract=contract))
