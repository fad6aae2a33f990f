"""The task: what a study trains, on which images, by which recipe, with which privacy.

``task.toml`` becomes one frozen object; its SHA-256 over canonical JSON, defaults
included, is the task's name everywhere. A task is public: nothing in it may come from a
site's data. What a site allows is in ``site_client.settings``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from fedrad.data_contract import DataContract, Labels
from fedrad.durable import canonical_json, write_bytes
from fedrad.errors import SettingsError
from fedrad.federation import Federation
from fedrad.model_choice import ModelChoice
from fedrad.monitoring import Monitoring
from fedrad.output import Output
from fedrad.provenance import read_provenance
from fedrad.settings import as_table, build, read_toml, refuse_problems

SCHEMA = 1
MOST_AUGMENTATIONS = 64  # copies of an image in one step
MOST_VALUES = 2**28  # of one patient in one step: images x copies x pixels
CLIP_NORMS = (0.01, 1e4)  # float32 keeps the bound between these

_LATER = "not supported by this version of fedrad"

Kind = Literal["classification", "segmentation", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``[task]``: the task's name, its kind and its classes."""

    name: str
    kind: Kind
    classes: tuple[str, ...]  # class index is the position; background first
    positive: str  # the class whose presence is scored

    def __post_init__(self) -> None:
        refuse_problems("task", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            yield f"name must be letters, digits, - and _, got {self.name!r}"
        if self.kind == "evaluate":
            yield f"kind 'evaluate' is {_LATER}"
        if len(self.classes) != 2:
            yield f"classes must name exactly two classes, got {list(self.classes)}"
        if self.positive not in self.classes:
            yield f"positive must be one of classes, got {self.positive!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """``intensity``: how pixel values become network input."""

    kind: Literal["zscore", "range", "window"]
    constants: str  # a named constants file of fedrad.constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``[recipe]``: the deterministic part first, then augmentation."""

    size: tuple[int, ...]  # rows, columns (and slices first in 3D: depth, rows, columns)
    intensity: Intensity
    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_problems("recipe", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if any(edge < 8 for edge in self.size):
            yield f"size must be 8 or more everywhere, got {list(self.size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    """``optimiser``: the local optimiser, started anew every round."""

    name: Literal["sgd", "adam"] = "sgd"
    rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        refuse_problems("optimiser", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.rate > 0:
            yield f"rate must be greater than 0, got {self.rate}"
        if not 0 <= self.momentum < 1:
            yield f"momentum must lie in [0, 1), got {self.momentum}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """``[training]``: what a site does in one round."""

    steps: int
    expected_batch_patients: float
    optimiser: Optimiser = Optimiser()
    loss: Literal["cross_entropy", "dice", "dice_ce"] = "cross_entropy"
    class_weights: tuple[float, ...] = ()  # fixed and public; empty: all 1
    augmentations: int = 1  # changed copies of every image in a step, averaged before the clip
    precision: Literal["float32", "bfloat16"] = "float32"  # of signals in the network

    def __post_init__(self) -> None:
        refuse_problems("training", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.steps < 1:
            yield f"steps must be 1 or more, got {self.steps}"
        if not self.expected_batch_patients > 0:
            yield (
                f"expected_batch_patients must be greater than 0, "
                f"got {self.expected_batch_patients}"
            )
        if not 1 <= self.augmentations <= MOST_AUGMENTATIONS:
            yield (
                f"augmentations must lie between 1 and {MOST_AUGMENTATIONS}, "
                f"got {self.augmentations}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """``[privacy]``: patient-level differential privacy, per stream of patients."""

    enabled: bool
    epsilon: float = 8.0
    delta: float = 1e-5
    max_grad_norm: float = 1.0
    noise_multiplier: float | None = None  # absent: planned per site in the contract
    audit_releases: int = 4

    def __post_init__(self) -> None:
        refuse_problems("privacy", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.epsilon > 0:
            yield f"epsilon must be greater than 0, got {self.epsilon}"
        if not 0 < self.delta < 1:
            yield f"delta must lie between 0 and 1, got {self.delta}"
        low, high = CLIP_NORMS
        if not low <= self.max_grad_norm <= high:
            yield f"max_grad_norm must lie between {low} and {high:g}, got {self.max_grad_norm}"
        if self.audit_releases < 1:
            yield f"audit_releases must be 1 or more, got {self.audit_releases}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """``[evaluation]``: what each release measures."""

    metrics: tuple[str, ...]
    edges: tuple[float, ...]  # public bin edges of scores or case Dice, from 0 to 1
    strata: tuple[str, ...] = ()  # none yet
    every_rounds: int = 5
    release: Literal["private", "exact"] = "private"

    def __post_init__(self) -> None:
        refuse_problems("evaluation", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if len(self.edges) < 3 or not rising or self.edges[0] != 0 or self.edges[-1] != 1:
            yield f"edges must rise from 0 to 1 with 2 bins or more, got {list(self.edges)}"
        if self.every_rounds < 1:
            yield f"every_rounds must be 1 or more, got {self.every_rounds}"
        if self.strata:
            yield f"strata are {_LATER}: leave them out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """``[analysis]``: the plan that is fixed before the first round."""

    primary: str
    operating_point: float = 0.5  # one of the edges
    margin: float = 0.02
    minimum_per_class: int = 15
    final_round: Literal["fixed", "last"] = "last"

    def __post_init__(self) -> None:
        refuse_problems("analysis", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.final_round == "fixed":
            yield f"final_round 'fixed' is {_LATER}: use 'last'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The whole of ``task.toml``."""

    ABSENT: ClassVar[tuple[str, ...]] = ("monitoring", "output")

    schema: int
    task: Identity
    data: DataContract
    labels: Labels
    recipe: Recipe
    model: ModelChoice
    training: Training
    federation: Federation
    privacy: Privacy
    evaluation: Evaluation
    analysis: Analysis
    monitoring: Monitoring | None = None  # absent: no windows after a release
    output: Output | None = None  # absent: a prediction stays as the network made it

    def __post_init__(self) -> None:
        refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each table that does not fit another."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}; this fedrad reads no other"
        if len(self.recipe.size) != self.data.dimensions:
            yield f"recipe.size needs {self.data.dimensions} values, got {list(self.recipe.size)}"
        if self.analysis.operating_point not in self.evaluation.edges:
            yield f"analysis.operating_point {self.analysis.operating_point} must be an edge"
        if self.labels.source == "csv" and set(self.labels.map.values()) != {0, 1}:
            yield f"labels.map must lead to 0 and 1, got {self.labels.map}"
        yield from self._unfit_truth()
        if self.training.class_weights and len(self.training.class_weights) != 2:
            yield "training.class_weights needs one weight per class"
        if self.training.augmentations > 1 and not self.recipe.augment:
            yield "training.augmentations needs recipe.augment to say what changes in a copy"
        yield from self._unwatchable()
        yield from self._untrainable()
        yield from self._too_many_releases()

    def _unwatchable(self) -> Iterator[str]:
        if self.monitoring is None or self.task.kind == "classification":
            return
        if self.monitoring.labels != "with":
            yield f"monitoring.labels 'later' of a {self.task.kind} is {_LATER}: use 'with'"

    def _untrainable(self) -> Iterator[str]:
        if self.task.kind == "classification" and self.training.loss != "cross_entropy":
            yield f"training.loss {self.training.loss!r} is for segmentation: use cross_entropy"
        copies = self.data.max_images_per_patient * self.training.augmentations
        if copies * math.prod(self.recipe.size) > MOST_VALUES:
            yield (
                f"data.max_images_per_patient x training.augmentations x the pixels of "
                f"recipe.size is over {MOST_VALUES:,} for one patient; lower one of them"
            )

    def _unfit_truth(self) -> Iterator[str]:
        source = self.labels.source
        if (self.task.kind == "segmentation") != (source != "csv"):
            yield f"a {self.task.kind} cannot take its truth from {source!r}"
        if source in ("rtstruct", "nifti") and self.data.dimensions != 3:
            yield f"labels.source {source!r} needs data.dimensions = 3"

    def _too_many_releases(self) -> Iterator[str]:
        if self.privacy.enabled and not self.exact:
            releases = -(-self.federation.rounds // self.evaluation.every_rounds)
            if releases > self.privacy.audit_releases:
                yield (
                    f"evaluation.every_rounds {self.evaluation.every_rounds} makes {releases} "
                    f"releases, privacy.audit_releases allows {self.privacy.audit_releases}"
                )

    @property
    def exact(self) -> bool:
        """Whether exact metrics are released: simulation only, not private."""
        return self.evaluation.release == "exact"

    @property
    def positive_index(self) -> int:
        """The class index of the positive class."""
        return self.task.classes.index(self.task.positive)


def read_task(path: Path) -> Task:
    """Read ``task.toml``, and the provenance of its starting weights from beside them.

    A task that already holds the provenance, as ``write_task`` writes it, needs no weights.

    Raises:
        SettingsError: Every problem of the file at once.
    """
    table = read_toml(path)
    try:
        return parse_task(table, beside=path.parent)
    except SettingsError as error:
        raise SettingsError(str(path), error.problems) from None


def write_task(path: Path, task: Task) -> None:
    """Write ``task.toml``, defaults included, durably; reading it gives the same hash."""
    import tomli_w

    write_bytes(path, tomli_w.dumps(_without_none(as_table(task))).encode("utf-8"))


def parse_task(table: dict[str, Any], *, beside: Path | None = None) -> Task:
    """Build a task from a parsed table; raises ``SettingsError`` like ``read_task``.

    Args:
        table: What ``tomllib`` returned; unchanged.
        beside: The folder that ``model.initial`` is relative to; ``None``: the table holds
            the provenance already.
    """
    return build(Task, table if beside is None else _with_provenance(table, beside))


def _with_provenance(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    model = table.get("model")
    if not isinstance(model, dict) or "provenance" in model:
        return table
    initial = model.get("initial")
    if not isinstance(initial, str) or not initial:
        return table
    return table | {"model": model | {"provenance": as_table(read_provenance(folder / initial))}}


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table without absent values, which TOML cannot write."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }


def canonical(task: Task) -> bytes:
    """Return the canonical JSON of the task, defaults included."""
    return canonical_json(as_table(task))


def task_hash(task: Task) -> str:
    """Return the task's name: the SHA-256 of its canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(task)).hexdigest()


def is_evaluation_round(task: Task, round_number: int) -> bool:
    """Whether the schedule releases metrics after this round: every n-th, and the last."""
    every = task.evaluation.every_rounds
    return round_number % every == 0 or round_number == task.federation.rounds
