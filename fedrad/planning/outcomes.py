"""What private training reached where this project measured it: the table in ``outcomes.json``.

``benchmarks/feasibility.py`` writes it. A trial is one kind of data with one network, one
image size and one start; its cells are cohorts and epsilons, its scores one number a seed.
Scores are AUROC or mean Dice on test patients, averaged over the trial's sites. What follows
from them is ``verdict``'s business; nothing here interpolates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad.errors import SettingsError
from fedrad.settings import as_table, build, refuse_problems
from fedrad.task import Task

SCHEMA = 1
SCRATCH = "scratch"  # a start from weights that nobody trained
FILE = "outcomes.json"

Scores = tuple[float, ...]  # one a seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a cohort reaches without privacy."""

    patients: int  # training patients a site
    trivial: Scores  # chance, or the mask that most training patients share
    alone: Scores  # each site on its own
    federated: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What sites of one size reached together at one epsilon."""

    patients: int  # training patients a site
    epsilon: float
    sigma: float  # noise multiplier
    recipe: str  # rounds, steps, batch, optimiser
    private: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Uneven:
    """What sites of unequal size reached: a check of how cells are looked up."""

    patients: tuple[int, ...]
    epsilon: float
    private: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Everything measured on one kind of data with one network, size and start."""

    name: str
    data: str  # what the images were
    kind: str  # classification or segmentation
    network: str
    parameters: dict[str, Any]  # of the network, defaults included
    size: tuple[int, ...]  # of an image, pixels
    start: str  # as ``start_of``
    delta: float
    sites: int
    test_patients: int  # a site
    seeds: tuple[int, ...]
    plain: str  # the recipe without privacy
    baselines: tuple[Baseline, ...]
    cells: tuple[Cell, ...]
    uneven: tuple[Uneven, ...] = ()

    def __post_init__(self) -> None:
        refuse_problems(self.name, self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each cell that cannot be used."""
        cohorts = {baseline.patients for baseline in self.baselines}
        for cell in self.cells:
            where = f"{cell.patients} patients at epsilon {cell.epsilon:g}"
            if len(cell.private) != len(self.seeds):
                yield f"{where}: {len(cell.private)} scores for {len(self.seeds)} seeds"
            if cell.patients not in cohorts:
                yield f"{where}: no baseline of this cohort"
        cells = [(cell.patients, cell.epsilon) for cell in self.cells]
        if len(set(cells)) != len(cells) or len(cells) != len(self.patients) * len(self.epsilons):
            yield "cells must be one for each cohort and epsilon, without holes"
        for one in self.baselines:
            if not len(one.trivial) == len(one.alone) == len(one.federated) == len(self.seeds):
                yield f"{one.patients} patients: baselines need {len(self.seeds)} scores each"

    @property
    def measure(self) -> str:
        """The name of the score."""
        return "Dice" if self.kind == "segmentation" else "AUROC"

    @property
    def patients(self) -> tuple[int, ...]:
        """The cohorts that were measured, rising."""
        return tuple(sorted({cell.patients for cell in self.cells}))

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The epsilons that were measured, rising."""
        return tuple(sorted({cell.epsilon for cell in self.cells}))

    def cell(self, patients: int, epsilon: float) -> Cell:
        """Return the cell of one of ``patients`` and one of ``epsilons``."""
        return next(c for c in self.cells if (c.patients, c.epsilon) == (patients, epsilon))

    def baseline(self, patients: int) -> Baseline:
        """Return what one of ``patients`` reached without privacy."""
        return next(b for b in self.baselines if b.patients == patients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The whole table and how it was made."""

    schema: int
    measured: str  # date
    command: str
    code: str  # the commit that was measured
    versions: dict[str, str]
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        refuse_problems("outcomes", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}"
        names = [trial.name for trial in self.trials]
        if len(set(names)) < len(names):
            yield f"two trials have one name: {', '.join(sorted(names))}"


def read_outcomes(path: Path | None = None) -> Outcomes:
    """Read the table.

    Args:
        path: Another file than the one that comes with fedrad.

    Raises:
        SettingsError: It cannot be used; every problem is named.
    """
    file = resources.files(__package__).joinpath(FILE) if path is None else path
    try:
        return build(Outcomes, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SettingsError(str(file), (f"not a readable table: {error}",)) from None


def write_outcomes(path: Path, outcomes: Outcomes) -> None:
    """Write the table, one line a cell, so that a change can be read."""
    text = json.dumps(as_table(outcomes), indent=1, ensure_ascii=False)
    durable.write_bytes(path, text.encode("utf-8") + b"\n")


def start_of(task: Task) -> str:
    """Return what a task's model starts from, as trials name it."""
    known = task.model.provenance
    return SCRATCH if known is None else f"{known.digest} {task.model.trained}"


def full_parameters(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a network's parameters, defaults included.

    Raises:
        SettingsError: The network or a parameter is not known.
    """
    from fedrad.models.networks import NETWORKS, known_networks

    if name not in NETWORKS:
        raise SettingsError("model", (f"{name!r} is none of {', '.join(known_networks())}",))
    network: Any = NETWORKS[name]
    return as_table(build(network, parameters, "model.parameters"))


def same_network(trial: Trial, task: Task) -> bool:
    """Whether a trial measured the very network of a task."""
    if trial.network != task.model.name or trial.kind != task.task.kind:
        return False
    theirs = full_parameters(trial.network, trial.parameters)
    return theirs == full_parameters(task.model.name, task.model.parameters)


def recipe_of(task: Task) -> str:
    """Say how a task trains, in the words of a cell's recipe."""
    training, federation = task.training, task.federation
    optimiser = training.optimiser
    momentum = f" momentum {optimiser.momentum:g}" if optimiser.momentum else ""
    return (
        f"{federation.rounds} rounds × {training.steps} "
        f"{'step' if training.steps == 1 else 'steps'} of "
        f"{training.expected_batch_patients:g} patients, "
        f"{optimiser.name} {optimiser.rate:g}{momentum}, clip {task.privacy.max_grad_norm:g}"
    )


def summarised(scores: Scores) -> str:
    """Return the mean of some scores with the least and the largest, to three digits."""
    mean = sum(scores) / len(scores)
    return f"{mean:.3f} ({min(scores):.3f} to {max(scores):.3f})"
