"""A study small enough for a test, on real DICOM archives of phantom hospitals.

Four hospitals of 40 patients, 64 pixels, few steps. The archives are written once a session
and copied for each test, with a cache that is already filled.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.planning import plan_contract
from aggregator.setup import RunSetup
from fedrad.contract import Contract
from fedrad.models.networks import build
from fedrad.parameters import Parameters, digest, trainable
from fedrad.protocol.messages import Phase, Reply, Request
from fedrad.task import Task, parse_task, task_hash
from simulations import overrides, premises
from simulations.engines import run_local
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import home_of, site_folder
from simulations.plan import Plan
from simulations.runner import SimulatedSites
from simulations.scenario import Baselines, Limits, Scenario
from site_client.app import client_app
from site_client.round import Site, SiteRuntime
from site_client.settings import Shares

SITES = ("east", "north", "south", "west")
SEED = 3
BASE = """
schema = 1
[task]
name = "tiny"
kind = "classification"
classes = ["normal", "nodule"]
positive = "nodule"
[labels]
source = "csv"
key = "AccessionNumber"
map = { normal = 0, nodule = 1 }
rule = "any"
[rest]
data = { modality = "DX", dimensions = 2 }
recipe = { size = [32, 32], intensity = { kind = "range", constants = "dx-unit-1" } }
model = { name = "filter_bank_cnn" }
training = { steps = 2, expected_batch_patients = 8, optimiser = { rate = 0.2 } }
federation = { rounds = 2, deadline_s = 60 }
privacy = { enabled = true, epsilon = 8.0, noise_multiplier = 1.5, delta = 1e-3 }
evaluation = { metrics = ["auroc"], edges = [0.0, 0.25, 0.5, 0.75, 1.0], every_rounds = 2 }
analysis = { primary = "auroc", minimum_per_class = 1 }
"""
EXACT = ("privacy.enabled=false", "evaluation.release=exact")
UNHURRIED = "federation.deadline_s=600"  # processes of their own, on cores that others use too


def tiny_task(*settings: str) -> Task:
    """Return the tiny task, changed by ``key=value`` settings; private unless ``EXACT``."""
    table = tomllib.loads(BASE)
    table |= table.pop("rest")
    overrides.apply(table, {}, settings, known=[])
    return parse_task(table)


def tiny_scenario(**fields: object) -> Scenario:
    """Return the scenario of the tiny hospitals; ``fields`` replace its own."""
    given: dict[str, object] = {
        "title": "tiny",
        "seed": SEED,
        "splits": Shares(train=0.5, audit=0.25, window=0.0, test=0.25),
        "baselines": Baselines(rates=(0.1, 0.2, 0.4)),
        "limits": {site: Limits(epsilon_limit=50.0, min_patients=1) for site in SITES},
        "hospitals": tuple(HospitalSpec(name=site, patients=40, size=64) for site in SITES),
    }
    return Scenario(**(given | fields))  # type: ignore[arg-type]


@dataclass(frozen=True)
class TinyStudy:
    """One signed study over the hospitals in a run folder."""

    run: Path
    task: Task
    contract: Contract

    @property
    def model(self) -> Parameters:
        """The model before round 1."""
        return trainable(build(self.task, seed=SEED))

    def home(self, site: str = "east") -> Path:
        """Return a site's home."""
        return home_of(self.run, site)

    def archive(self, site: str = "east") -> Path:
        """Return a site's archive."""
        return site_folder(self.run, site) / "ARCHIVE"

    def site(self, name: str = "east", *, seed: int | None = SEED) -> Site:
        """Start a site's program; ``seed=None`` makes it a hospital's."""
        return Site(SiteRuntime(self.home(name), seed))

    def ask(self, phase: Phase = "train", round_number: int = 1, **changes: object) -> Request:
        """Return a request for the model before round 1."""
        request = Request(
            study=self.contract.study,
            task_hash=self.contract.task_hash,
            round=round_number,
            phase=phase,
            model_digest=digest(self.model),
            deadline_s=60.0,
        )
        return replace(request, **changes)  # type: ignore[arg-type]

    def answer(self, site: str = "east", phase: Phase = "train", round_number: int = 1) -> Reply:
        """Start a site's program and let it answer one request."""
        return self.site(site).answer(self.ask(phase, round_number), self.model)


def write_hospitals(run: Path) -> None:
    """Write the four archives, and fill their caches for the tiny task."""
    task, scenario = tiny_task(), tiny_scenario()
    for spec in scenario.hospitals:
        write_hospital(site_folder(run, spec.name), spec, seed=SEED)
        premises.open_home(run, spec.name, scenario, task, seed=SEED)
        premises.take_stock(run, spec.name, task)


def copy_study(hospitals: Path, run: Path, *settings: str, **limits: Limits) -> TinyStudy:
    """Copy the hospitals to ``run`` and sign the tiny task, changed by ``settings``, at each."""
    shutil.copytree(hospitals, run)
    return sign_study(run, tiny_task(*settings), limits)


def sign_study(run: Path, task: Task, limits: Mapping[str, Limits]) -> TinyStudy:
    """Sign ``task`` at every hospital of ``run``."""
    given = {site: Limits(epsilon_limit=50.0, min_patients=1) for site in SITES}
    scenario = tiny_scenario(limits=given | dict(limits))
    for site in SITES:
        premises.open_home(run, site, scenario, task, seed=SEED)
    contract = plan_contract(task, "tiny-study", dict.fromkeys(SITES, 20))
    premises.sign(run, task, contract)
    assert contract.task_hash == task_hash(task)
    return TinyStudy(run, task, contract)


def federate(study: TinyStudy, folder: Path, *, workers: int) -> Parameters:
    """Run the study's rounds on the local engine into ``folder``; return the final model."""
    setup = RunSetup(
        folder=folder,
        task=study.task,
        contract=study.contract,
        initial=lambda: study.model,
        seed=SEED,
    )
    factory = partial(client_app, SimulatedSites(study.run, SITES, SEED))
    run_local(server_app(setup), SITES, factory, workers=workers)
    last = checkpoints.latest_round(folder)
    assert last
    return checkpoints.read_round(folder, last)[1]


def tiny_plan(run: Path, *settings: str, **scenario: object) -> Plan:
    """Return the plan of the tiny scenario in ``run``."""
    return Plan(
        name="tiny",
        scenario=tiny_scenario(**scenario),
        task=tiny_task(*settings),
        run=run,
        seed=SEED,
        command=f"fedrad-sim run tiny --out {run}",
    )


def finish_run(run: Path) -> Path:
    """Run the tiny scenario with a refusing site, broken files and a site without images."""
    from simulations.runner import run_plan
    from simulations.screen import Screen

    specs = [HospitalSpec(name=site, patients=40, size=64) for site in SITES]
    specs[1] = replace(specs[1], broken={"truncated": 2, "no_patient_id": 1})
    limits = {site: Limits(epsilon_limit=50.0, min_patients=1) for site in SITES}
    limits["west"] = Limits(epsilon_limit=2.0, min_patients=1)
    idle = HospitalSpec(name="idle", patients=0, size=64)
    plan = tiny_plan(run, "evaluation.every_rounds=1", hospitals=(*specs, idle), limits=limits)
    run_plan(plan, Screen(quiet=True))
    return run
