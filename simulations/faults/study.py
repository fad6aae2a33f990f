"""A study so small that thousands of its runs can be played: four sites, three rounds.

Tasks, contract, homes, ledgers, guards and messages are real; only the patients and the
arithmetic of a training step are stand-ins: a step moves the model half-way to a place of
the site's own, plus noise that is fresh in every attempt. What really met a patient is
written down beside the study, by the stand-in itself, for ``invariants`` to compare.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from aggregator.planning import plan_contract
from aggregator.setup import OnRelease, RunSetup
from aggregator.tables import Metric
from fedrad import seeds
from fedrad.clock import Clock
from fedrad.contract import Contract, write_contract
from fedrad.metrics import classification
from fedrad.parameters import Parameters, digest
from fedrad.progress import Say, silent
from fedrad.protocol.messages import Block
from fedrad.task import Task, parse_task, task_hash, write_task
from simulations.faults.events import ROUNDS, SITES
from site_client.home import LEDGER, make_home
from site_client.patients import Split
from site_client.round import Site, SiteRuntime
from site_client.study import CONTRACT, TASK, Duty, study_folder
from site_client.training.loop import StepPlan, Trained

STUDY, SEED, STEPS = "faults", 7, 2
SPARE = 3
DEADLINE_S = 60.0
CANARY = "Canary^Patient"  # what no file of the coordinator and no message may hold
PATIENTS = {"east": 100, "north": 200, "south": 300, "west": 400}


def initial_model() -> Parameters:
    """Return the model before round 1: two tensors of different dtypes."""
    return {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float64)}


def a_task(rounds: int, every: int, late: str) -> Task:
    """Return a private task whose epsilon leaves room for a few attempts that died.

    Args:
        rounds: How many change the model.
        every: After how many of them it is evaluated.
        late: What becomes of an update that comes when its round is closed.
    """
    return parse_task(
        {
            "schema": 1,
            "task": {
                "name": "faults",
                "kind": "classification",
                "classes": ["no", "yes"],
                "positive": "yes",
            },
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [8, 8], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
            "model": {"name": "filter_bank_cnn"},
            "training": {"steps": STEPS, "expected_batch_patients": 10.0},
            "federation": {
                "rounds": rounds,
                "spare_rounds": SPARE,
                "deadline_s": DEADLINE_S,
                "late": late,
            },
            "privacy": {
                "enabled": True,
                "epsilon": 6.0,
                "delta": 1e-4,
                "noise_multiplier": 1.0,
            },
            "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0], "every_rounds": every},
            "analysis": {"primary": "auroc"},
        }
    )


@dataclass(frozen=True)
class Plan:
    """What every run of the study has in common, and where the homes to copy lie."""

    task: Task
    contract: Contract
    homes: Path

    def setup(self, folder: Path, **fields: Any) -> RunSetup:
        """Return a run in ``folder``."""
        return RunSetup(
            folder=folder,
            task=self.task,
            contract=self.contract,
            initial=initial_model,
            seed=SEED,
            **fields,
        )

    def copy_homes(self, folder: Path) -> None:
        """Give every site a fresh home in ``folder``."""
        shutil.copytree(self.homes, folder)


@dataclass(frozen=True)
class Studies:
    """Three rounds each: measured at the end; measured every time and carrying late updates."""

    rare: Plan
    often: Plan

    def of(self, seed: int) -> Plan:
        """Return the study of a schedule's seed."""
        return self.rare if seed % 2 else self.often


def prepare(folder: Path) -> Studies:
    """Make the homes to copy in ``folder``, signed and approved."""
    return Studies(
        a_plan(folder / "rare", a_task(ROUNDS, ROUNDS, "discard")),
        a_plan(folder / "often", a_task(ROUNDS, 1, "carry")),
    )


def a_plan(folder: Path, task: Task) -> Plan:
    """Make the homes of one study in ``folder``."""
    contract = plan_contract(task, STUDY, PATIENTS)
    for site in SITES:
        home = folder / site
        make_home(home, tomli_w.dumps(_settings(site, task)), split_key=seeds.key(SEED, site))
        write_task(study_folder(home, STUDY) / TASK, task)
        write_contract(study_folder(home, STUDY) / CONTRACT, contract)
    return Plan(task, contract, folder)


def _settings(site: str, task: Task) -> dict[str, Any]:
    return {
        "site": {"name": site},
        "archive": {"kind": "folder", "path": "archive"},
        "privacy": {
            "epsilon_limit": 8.0,
            "delta_limit": task.privacy.delta,
            "min_patients": 1,
            "max_rounds": task.federation.rounds + SPARE,
            "max_steps": STEPS,
        },
        "approval": {"studies": [task_hash(task)]},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """One moment at which a model met patients: what no ledger may have forgotten."""

    home: str  # the name of the home's folder
    stream: str
    round: int
    reply_id: str
    steps: int
    ledger: tuple[str, ...]  # digests of the ledger's lines at that moment


@dataclass(slots=True)
class Truth:
    """What really happened at the sites, written down by the stand-ins."""

    met: list[Met] = field(default_factory=list)
    updates: dict[str, tuple[str, int, Parameters]] = field(default_factory=dict)
    # digest of an update -> who made it, in which round, and its tensors

    def note(self, met: Met) -> None:
        """Note that patients are about to be met."""
        self.met.append(met)

    def made(self, site: str, number: int, update: Parameters) -> None:
        """Note an update that a site made, whatever becomes of it."""
        self.updates[digest(update)] = (site, number, update)


@dataclass(frozen=True, slots=True)
class Work:
    """What stands for a network: the question, and where it is answered."""

    duty: Duty
    home: Path
    truth: Truth
    reached: Callable[[str], None]  # told when patients are about to be met

    def meet(self, stream: str, reply_id: str, steps: int) -> int:
        """Note that patients are met; return how often they were for this answer."""
        self.reached(f"{stream} begins")
        name, number = self.home.name, self.duty.request.round
        lines = (self.home / LEDGER).read_bytes().splitlines()
        seen = tuple(hashlib.sha256(line).hexdigest() for line in lines)
        self.truth.note(
            Met(home=name, stream=stream, round=number, reply_id=reply_id, steps=steps, ledger=seen)
        )
        return sum(met.reply_id == reply_id and met.home == name for met in self.truth.met)


class StudySite(Site):
    """A site whose patients are only counted."""

    truth: Truth
    reached: Callable[[str], None]

    def __init__(
        self,
        runtime: SiteRuntime,
        clock: Clock,
        truth: Truth,
        reached: Callable[[str], None],
    ) -> None:
        super().__init__(runtime, clock)
        self.truth, self.reached = truth, reached

    def _module(self, duty: Duty) -> Any:
        return Work(duty, self._home, self.truth, self.reached)

    def _source(self, duty: Duty, split: Split, *, say: Say = silent) -> Any:
        del split, say
        return range(duty.terms.patients_agreed)


def train_stand_in(module: Work, _: Any, task: Task, *, plan: StepPlan, **__: Any) -> Trained:
    """Move half-way to the site's own place, with noise of this attempt.

    The noise is keyed by site, round and attempt, so that a schedule can be played again.
    """
    from fedrad.protocol.messages import reply_id

    site, request = module.duty.settings.site.name, module.duty.request
    attempt = module.meet("train", reply_id(request, site), plan.steps)
    rng = seeds.stream(SEED, module.home.name, request.round, f"attempt {attempt}")
    update = {
        name: ((_place(site, tensor) - tensor) / 2 + rng.normal(0, 0.1, tensor.shape)).astype(
            tensor.dtype
        )
        for name, tensor in module.duty.model.items()
    }
    module.truth.made(site, request.round, update)
    del task
    return Trained(update, plan.steps, 0)


def measure_stand_in(module: Work, _: Any, task: Task) -> tuple[Block, ...]:
    """Return the sums of eight patients."""
    from fedrad.protocol.messages import reply_id

    site, request = module.duty.settings.site.name, module.duty.request
    module.meet("audit", reply_id(request, site), 1)
    scores, labels = [0.1, 0.2, 0.6, 0.3, 0.8, 0.9, 0.4, 0.7], [0, 0, 0, 0, 1, 1, 1, 1]
    return classification.blocks(
        scores,
        labels,
        edges=task.evaluation.edges,
        operating_point=task.analysis.operating_point,
    )


def figures(falls: Mapping[int, tuple[str, ...]]) -> OnRelease:
    """Return what scores every site high, but after some rounds some sites low."""

    def score(number: int, sums: Mapping[str, tuple[Block, ...]]) -> Iterable[Metric]:
        low = falls.get(number, ())
        return [_metric(number, site, 0.55 if site in low else 0.85) for site in sums]

    return score


def _metric(number: int, site: str, value: float) -> Metric:
    return Metric(
        round=number, site=site, data_site=site, split="audit", metric="auroc", value=value,
        lo=value - 0.05, hi=value + 0.05, n=20.0, method="private",
    )  # fmt: skip


def _place(site: str, tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.full(tensor.shape, 1.0 + SITES.index(site))
