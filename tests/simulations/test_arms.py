"""The arms are the same mathematics as the rounds of an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT, SEED, SITES, TinyStudy, copy_study, federate

from aggregator import checkpoints
from aggregator.store import Store
from fedrad.parameters import Parameters, digest
from simulations.arms import PrivateStudy, Study, train_alone, train_federated, train_pooled
from simulations.premises import sign
from site_client.dataset import load_split
from site_client.training.source import PatientSource

EVERYBODY = ("training.expected_batch_patients=20", "training.steps=1", "federation.rounds=3")


def sources(study: TinyStudy) -> dict[str, PatientSource]:
    return {site: load_split(study.home(site), study.task, "train") for site in SITES}


def arms_of(study: TinyStudy) -> Study:
    return Study(task=study.task, contract=study.contract, seed=SEED)


def assert_close(left: Parameters, right: Parameters, atol: float = 1e-6) -> None:
    for name, tensor in left.items():
        np.testing.assert_allclose(tensor, right[name], atol=atol, err_msg=name)


@pytest.mark.parametrize(
    "strategy",
    ["{name='fedavg'}", "{name='fedprox', proximal=0.5}", "{name='fedadam', rate=0.05}"],
)
def test_the_federated_arm_is_the_engine_s_run_without_privacy(
    hospitals: Path, tmp_path: Path, strategy: str
) -> None:
    study = copy_study(hospitals, tmp_path / "r", *EXACT, f"federation.strategy={strategy}")
    engine = federate(study, tmp_path / "out", workers=0)
    rate = study.task.training.optimiser.rate
    assert_close(train_federated(arms_of(study), sources(study), rate=rate), engine)
    assert digest(engine) != digest(study.model)


def test_private_rounds_in_this_process_are_the_engine_s(study: TinyStudy, tmp_path: Path) -> None:
    engine = federate(study, tmp_path / "out", workers=0)
    private = PrivateStudy(task=study.task, contract=study.contract, seed=SEED)
    rate = study.task.training.optimiser.rate
    assert_close(train_federated(private, sources(study), rate=rate), engine)
    plain = train_federated(arms_of(study), sources(study), rate=rate)
    assert digest(plain) != digest(engine)


@pytest.mark.long
def test_no_worker_and_two_workers_give_the_same_bits(
    exact_study: TinyStudy, hospitals: Path, tmp_path: Path
) -> None:
    inline = federate(exact_study, tmp_path / "inline", workers=0)
    again = copy_study(hospitals, tmp_path / "again", *EXACT)
    assert digest(federate(again, tmp_path / "pool", workers=2)) == digest(inline)


def test_a_private_simulation_repeats_itself_to_the_bit(
    study: TinyStudy, hospitals: Path, tmp_path: Path
) -> None:
    again = copy_study(hospitals, tmp_path / "again")
    models = [federate(s, tmp_path / s.run.name / "out", workers=0) for s in (study, again)]
    assert digest(models[0]) == digest(models[1]) != digest(study.model)


def test_federated_is_pooled_where_everybody_takes_one_step_a_round(
    hospitals: Path, tmp_path: Path
) -> None:
    """Equal shares of means over B patients are one mean over the union of 4 B patients.

    True of the plain mean: no site's update is shortened here.
    """
    unclipped = "federation.rule={name='mean', clip=1000.0, ceiling=1000.0}"
    study = copy_study(hospitals, tmp_path / "run", *EXACT, *EVERYBODY, unclipped)
    federated = train_federated(arms_of(study), sources(study), rate=0.2)
    assert_close(federated, train_pooled(arms_of(study), sources(study), rate=0.2))


def test_identical_sites_federate_to_what_one_of_them_would_reach_alone(
    hospitals: Path, tmp_path: Path
) -> None:
    study = copy_study(hospitals, tmp_path / "run", *EXACT, *EVERYBODY, "training.steps=2")
    one = load_split(study.home("east"), study.task, "train")
    federated = train_federated(arms_of(study), dict.fromkeys(SITES, one), rate=0.2)
    assert_close(federated, train_alone(arms_of(study), "east", one, rate=0.2))


def test_a_large_site_counts_by_its_capped_share(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "run", *EXACT)
    terms = study.contract.sites
    large = terms | {"east": replace(terms["east"], patients_agreed=200)}
    contract = replace(study.contract, sites=large)
    sign(study.run, study.task, contract)
    model = federate(replace(study, contract=contract), tmp_path / "out", workers=0)
    with Store(tmp_path / "out" / "run.sqlite") as store:
        replies = store.frame("replies").query("phase == 'train' and round == 2")
    shares = dict(zip(replies["site"], replies["weight"], strict=True))
    assert shares == pytest.approx({"east": 0.5, "north": 1 / 6, "south": 1 / 6, "west": 1 / 6})
    before = checkpoints.read_round(tmp_path / "out", 1)[1]
    updates = {site: update_of(tmp_path / "out", site) for site in shares}
    for name, tensor in before.items():
        mean = sum(share * updates[site][name] for site, share in shares.items())
        np.testing.assert_allclose(model[name], tensor + mean, atol=1e-6)


def update_of(folder: Path, site: str) -> Parameters:
    from fedrad.parameters import read_safetensors

    return read_safetensors(checkpoints.reply_path(folder, 2, site))


def test_a_longer_list_of_sites_changes_no_site_s_batches(exact_study: TinyStudy) -> None:
    study = arms_of(exact_study)
    fewer = {site: terms for site, terms in study.contract.sites.items() if site != "west"}
    without = replace(study, contract=replace(study.contract, sites=fewer))
    draws = [s.plan("east", 2).batches.random(50) for s in (study, without)]
    np.testing.assert_array_equal(*draws)
