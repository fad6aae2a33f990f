"""A new model beside the one in use: asked of every site once, answered by the gate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message
from test_watch import SIGMA, WHO, rows, watched_task
from test_watch import setup as watched_setup
from tiny_federation import SITES, TinySites, honest_reply
from typer.testing import CliRunner

from aggregator import decisions, promotion
from aggregator.app import server_app
from aggregator.cli import app
from aggregator.paired import Compared
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch_app import compare_app
from aggregator.windows import promoted
from fedrad.clock import SystemClock
from fedrad.errors import RunError
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.shift.gate import discordance
from fedrad.site_report import noised
from simulations.engines import run_local

PATIENTS = 4000


def setup(folder: Path, *, audit_sigma: float = 0.0) -> RunSetup:
    """The run of ``test_watch``, whose sites agreed so many patients and so much noise."""
    given = watched_setup(folder)
    agreed = {"patients_agreed": PATIENTS, "audit_sigma": audit_sigma}
    terms = {site: replace(own, **agreed) for site, own in given.contract.sites.items()}
    return replace(given, contract=replace(given.contract, sites=terms))


class ComparingSites(TinySites):
    """The tiny sites with ``patients`` each; the new model is wrong where ``lost`` says."""

    patients, lost, worse = PATIENTS, 0.0, "north"

    def answer(self, message: Message, context: Context) -> Message:
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        if request.phase != "compare":
            return super().answer(message, context)
        rng = np.random.default_rng(SITES.index(site))
        labels = np.arange(self.patients) % 2
        wrong = rng.uniform(size=self.patients) < (self.lost if site == self.worse else 0.0)
        after = np.where(wrong, 1 - labels, labels)
        exact = discordance(labels, after, labels, operating_point=0.5)
        blocks = noised(exact, sigma=SIGMA, rng=noise_source(bytes([SITES.index(site)]) * 32))
        return encode_reply(replace(honest_reply(request, model, site), blocks=blocks), message)


class Harming(ComparingSites):
    """The same where one site's patients are called wrongly much more often."""

    lost = 0.2


class Small(ComparingSites):
    """The same with too few patients to say anything."""

    patients = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    run_local(server_app(setup(folder)), SITES, TinySites(), workers=0)
    return folder


def compare(folder: Path, factory: type[TinySites]) -> Compared:
    found: list[Compared] = []
    run_local(
        compare_app(setup(folder, audit_sigma=SIGMA), 3, found.append), SITES, factory(), workers=0
    )
    return found[0]


def beside(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run in which the model of round 2 is in use."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    place = decisions.place_of(None, "", folder)
    promotion.promote(place, 2, WHO, SystemClock(), insists=True)
    return folder


@pytest.mark.parametrize(
    ("sites", "said", "column"),
    [
        (ComparingSites, "promote", "promote"),
        (Harming, "harm shown", "harm"),
        (Small, "cannot tell", "cannot-tell"),
    ],
)
def test_the_gate_answers_from_what_sites_released(
    trained: Path, tmp_path: Path, sites: type[TinySites], said: str, column: str
) -> None:
    folder = beside(trained, tmp_path)
    assert compare(folder, sites) == Compared(3, tuple(SITES))
    words = ["promote", "3", "--run", str(folder), "--by", "Dr. Test", "--reason", "why", "--json"]
    found = CliRunner().invoke(app, words)
    assert json.loads(found.stdout)["answer"] == said
    assert found.exit_code == int(said != "promote")
    (row,) = [row for row in rows(folder, "releases") if row["round"] == 3]
    assert row["decision"] == column


def test_a_model_that_was_in_use_stays_recorded_as_promoted(trained: Path, tmp_path: Path) -> None:
    folder = beside(trained, tmp_path)
    place = decisions.place_of(None, "", folder)
    promotion.promote(place, 3, WHO, SystemClock(), insists=True)
    found = promotion.promote(place, 2, WHO, SystemClock(), insists=False)
    assert (found.said, found.in_use) == ("cannot tell", False)
    assert [row["decision"] for row in rows(folder, "releases")] == ["promote", "promote"]
    with Store(folder / "run.sqlite") as store:
        used = promoted(store)
    assert used is not None
    assert used.round == 3


def test_a_site_is_asked_once_for_a_pair_of_models(trained: Path, tmp_path: Path) -> None:
    folder = beside(trained, tmp_path)
    compare(folder, ComparingSites)
    assert compare(folder, Harming).sites == tuple(SITES)
    assert len(rows(folder, "replies", phase="compare")) == len(SITES)


def test_without_a_model_in_use_there_is_nothing_to_compare(trained: Path) -> None:
    with pytest.raises(RunError, match="no model is in use"):
        compare(trained, ComparingSites)
    assert watched_task().monitoring is not None
