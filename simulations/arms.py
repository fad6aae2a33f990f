"""Train the models that a federation is compared with, straight from the sites' datasets.

Alone, pooled and federated without privacy: all take the same number of steps over batches
drawn at the same rates, so that every training patient is seen equally often. Simulation
only: no message carries any of this. Which rate an arm gets is ``tuning``'s business.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aggregator.aggregation import robust
from aggregator.aggregation.averaging import RunningAverage
from aggregator.aggregation.optimisers import server_optimiser
from fedrad import seeds
from fedrad.contract import Contract
from fedrad.models.networks import build
from fedrad.parameters import (
    Parameters,
    load_trainable,
    load_whole,
    read_safetensors,
    trainable,
    whole,
    write_safetensors,
)
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task
from site_client.augmentation import augmenter
from site_client.training.loop import StepPlan, train_round
from site_client.training.source import PatientSource, Record

if TYPE_CHECKING:
    from torch import nn

Sources = Mapping[str, PatientSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What every arm shares: the task, the agreed numbers, the seed and the first model."""

    task: Task
    contract: Contract
    seed: int
    start: Path | None = None  # the model before round 1; absent: fresh from the seed

    @property
    def total_steps(self) -> int:
        """Local steps over all rounds."""
        return self.task.training.steps * self.task.federation.rounds

    def sampling_rate(self, site: str) -> float:
        """Return the chance of each of the site's patients to be drawn in one step."""
        return self.contract.sampling_rate(site, self.task.training.expected_batch_patients)

    def expected_batch(self, site: str) -> float:
        """Return how many of the site's patients one step is expected to draw."""
        return self.contract.expected_batch(site, self.task.training.expected_batch_patients)

    def module(self) -> nn.Module:
        """Build the network before round 1, the same for every arm."""
        module = build(self.task, seed=self.seed)
        if self.start is not None:
            load_whole(module, read_safetensors(self.start))
        return module

    def plan(self, site: str, round_number: int) -> StepPlan:
        """Return one round's plain steps at a site: the batches its round would draw."""
        return StepPlan(
            q=self.sampling_rate(site),
            sigma=0.0,
            steps=self.task.training.steps,
            expected_batch_patients=self.expected_batch(site),
            max_grad_norm=self.task.privacy.max_grad_norm,
            batches=seeds.stream(self.seed, site, round_number, "batches"),
            proximal=self.task.federation.strategy.proximal,
        )


class PrivateStudy(Study):
    """A study whose local steps are private, as the sites of an engine make them.

    For comparing recipes without messages: no site refuses, and nothing is charged.
    """

    def plan(self, site: str, round_number: int) -> StepPlan:
        """Return one round's private steps at a site, with the noise its round would draw."""
        key = seeds.key(self.seed, site, round_number, "step noise")
        sigma = self.contract.sites[site].train_sigma
        return replace(Study.plan(self, site, round_number), sigma=sigma, noise=noise_source(key))


class Union:
    """The patients of several sources, one source after the other."""

    def __init__(self, sources: list[PatientSource]) -> None:
        self._places = [(source, i) for source in sources for i in range(len(source))]

    def __len__(self) -> int:
        return len(self._places)

    def record(self, index: int) -> Record:
        """Return one patient."""
        source, place = self._places[index]
        return source.record(place)


def train_alone(study: Study, site: str, source: PatientSource, *, rate: float) -> Parameters:
    """Train on one site's patients only, without privacy; return the trained parameters."""
    plan = replace(study.plan(site, 0), steps=study.total_steps, rate=rate, proximal=0.0)
    return _trained(study, source, plan)


def train_pooled(study: Study, sources: Sources, *, rate: float) -> Parameters:
    """Train one model on batches that are the union of what the sites would draw."""
    names = sorted(sources)
    rates: npt.NDArray[np.float64] = np.concatenate(
        [np.full(len(sources[name]), study.sampling_rate(name)) for name in names]
    )
    plan = replace(
        study.plan(names[0], 0),
        q=rates,
        batches=seeds.stream(study.seed, "", 0, "pooled batches"),
        steps=study.total_steps,
        expected_batch_patients=sum(study.expected_batch(name) for name in names),
        rate=rate,
        proximal=0.0,
    )
    return _trained(study, Union([sources[name] for name in names]), plan)


def train_federated(study: Study, sources: Sources, *, rate: float) -> Parameters:
    """Run the rounds in this process: what the engines compute for the same study."""
    module = study.module()
    model = trainable(module)
    federation = study.task.federation
    optimiser = server_optimiser(federation.strategy)
    average = None if federation.average is None else RunningAverage(federation.average)
    for number in range(1, federation.rounds + 1):
        updates: dict[str, Parameters] = {}
        for site in sorted(sources):
            load_trainable(module, model)
            plan = replace(study.plan(site, number), rate=rate)
            trained = train_round(
                module,
                sources[site],
                study.task,
                plan=plan,
                augment=augmenter(study.task.recipe.augment),
            )
            updates[site] = trained.update
        model = optimiser.step(model, _folded(study, updates))
        if average is not None:
            average.take(model)
    load_trainable(module, model if average is None else average.model)
    return whole(module)


def _folded(study: Study, updates: dict[str, Parameters]) -> Parameters:
    """Return the round's aggregate, as a coordinator makes it of files."""
    plan = study.task.federation
    with tempfile.TemporaryDirectory() as folder:
        files = {site: Path(folder) / f"{site}.safetensors" for site in updates}
        for site, update in updates.items():
            write_safetensors(files[site], update)
        found = robust.measure(files, plan.rule)
        kept = found.without(robust.too_large(found, plan.rule))
        weights = study.contract.weights(sorted(kept.files), plan.weight_cap)
        return robust.aggregate(kept, weights, plan.rule)


def _trained(study: Study, source: PatientSource, plan: StepPlan) -> Parameters:
    module = study.module()
    train_round(module, source, study.task, plan=plan, augment=augmenter(study.task.recipe.augment))
    return whole(module)
