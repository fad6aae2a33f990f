"""Sites that joined to score: asked for evaluations, never for training, counted by themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_federation import (
    SITES,
    Fault,
    TinySites,
    charge_line,
    tiny_contract,
    tiny_setup,
    tiny_task,
)

from aggregator.app import server_app
from aggregator.checkpoints import read_round
from aggregator.release import figures_of
from aggregator.run_folder import read_run
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.wording import subtitle
from fedrad import audit_log
from fedrad.contract import Conditions, Contract
from fedrad.errors import ProtocolError, RunError
from fedrad.privacy.ledger import parse_line
from fedrad.protocol.checks import check_line
from simulations.engines import run_local


def scored(*names: str, **conditions: object) -> Contract:
    """Return the tiny contract with ``names`` as sites that only score."""
    contract = tiny_contract(tiny_task())
    sites = {
        name: replace(terms, kind="evaluate") if name in names else terms
        for name, terms in contract.sites.items()
    }
    return replace(contract, schema=2, sites=sites, **conditions)


def run(folder: Path, contract: Contract, *faults: Fault) -> RunSetup:
    task = tiny_task()
    setup = tiny_setup(folder, task, contract=contract, on_release=figures_of(task, seed=1))
    run_local(server_app(setup), SITES, TinySites(SITES, faults), workers=0)
    return setup


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> RunSetup:
    return run(tmp_path_factory.mktemp("run"), scored("west"))


def test_a_site_that_scores_is_asked_for_no_training_and_moves_no_model(setup: RunSetup) -> None:
    with Store(setup.folder / "run.sqlite") as store:
        replies = store.frame("replies").query("site == 'west'")
    assert set(replies["phase"]) == {"evaluate"}
    state, _, _ = read_round(setup.folder, 3)
    assert sorted(state.accepted) == ["east", "north", "south"]
    asked = [
        line for line in audit_log.read(setup.folder / "messages.jsonl") if line["site"] == "west"
    ]
    assert {line["phase"] for line in asked} == {"evaluate"}


def test_its_figures_stand_alone_and_move_no_summary(setup: RunSetup, tmp_path: Path) -> None:
    worse = replace(setup, folder=tmp_path)
    run_local(
        server_app(worse),
        SITES,
        TinySites(SITES, (Fault("west", "declined", phase="evaluate"),)),
        workers=0,
    )
    with Store(setup.folder / "run.sqlite") as a, Store(tmp_path / "run.sqlite") as b:
        with_it, without = a.frame("metrics"), b.frame("metrics")
    assert "west" in set(with_it["site"])
    assert "west" not in set(without["site"])
    summaries = "site in ('*', 'macro', 'worst', 'east')"
    columns = ["round", "site", "metric", "value", "n"]
    left = with_it.query(summaries)[columns].reset_index(drop=True)
    assert left.equals(without.query(summaries)[columns].reset_index(drop=True))


def test_readers_are_told_that_it_is_external_validation(setup: RunSetup) -> None:
    found = read_run(setup.folder)
    assert found.label("west") == "Hospital D, external validation"
    assert found.label("east") == "Hospital A"
    said = subtitle(found)
    assert said.startswith("3 hospitals trained one")
    assert "; 1 more scored it and trained nothing." in said


def test_a_quorum_is_of_sites_that_train(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="2 sites are there and the quorum is 3"):
        run(tmp_path, scored("west", "south"))


def test_a_training_line_of_a_site_that_trains_nothing_is_refused() -> None:
    task = tiny_task()
    contract = scored("west")
    line = parse_line(json.dumps(charge_line(contract.task_hash)))
    check_line(line, task, tiny_contract(task), site="west")
    with pytest.raises(ProtocolError, match="at a site that trains nothing"):
        check_line(line, task, contract, site="west")


def test_a_contract_that_ended_starts_no_run(tmp_path: Path) -> None:
    ended = Conditions(expires="2020-01-01", recipients=("x",))
    with pytest.raises(RunError, match="the contract ended on 2020-01-01"):
        run(tmp_path, scored(conditions=ended))


def test_every_message_is_in_the_record_with_its_decision(tmp_path: Path) -> None:
    setup = run(
        tmp_path,
        scored(),
        Fault("east", "nan", round=1),
        Fault("north", "raise", round=2),
        Fault("south", "not-ready", phase="evaluate"),
    )
    lines = audit_log.read(setup.folder / "messages.jsonl")
    audit_log.verify(setup.folder / "messages.jsonl")
    decisions = {(line["site"], line["round"], line["phase"]): line["decision"]
                 for line in lines if line["kind"] != "sent"}  # fmt: skip
    assert decisions["east", 1, "train"].startswith("not accepted: ")
    assert decisions["north", 2, "train"] == "an error: failed: ValueError"
    assert decisions["south", 2, "evaluate"] == "abstained: not-ready"
    assert decisions["west", 2, "evaluate"] == "accepted"
    sent = [line for line in lines if line["kind"] == "sent"]
    assert len(sent) == len(lines) - len(sent)
    assert all(line["bytes"] > 0 and line["digest"] for line in sent)
