"""Make starting weights for a task: train its network on public images, judge, write.

Plain training without privacy, because nobody in the data needs it (``pretraining_data``).
Patients who train nothing judge every epoch, and the best epoch is kept. The same task,
settings and versions give the same bytes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import fedrad
from fedrad import durable, seeds
from fedrad.errors import RunError
from fedrad.metrics.classification import auroc
from fedrad.models.networks import build
from fedrad.parameters import Parameters, whole, write_safetensors
from fedrad.provenance import SUFFIX, Provenance, provenance_path, write_provenance
from fedrad.task import Optimiser, Task
from simulations.pretraining_data import Pretraining, described, read_patients, write_patients
from site_client.augmentation import augmenter
from site_client.measure import positive_labels
from site_client.training.loop import StepPlan, train_round
from site_client.training.predict import case_dice, scores
from site_client.training.source import PatientSource, kept_features

if TYPE_CHECKING:
    from torch import nn

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Starting weights on disk, and how good they are."""

    path: Path
    provenance: Provenance
    parameters: int
    metric: str  # auroc or dice_mean
    value: float  # on the judges
    judges: int  # patients

    def table(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "weights": str(self.path),
            "provenance": str(provenance_path(self.path)),
            "digest": self.provenance.digest,
            "parameters": self.parameters,
            "metric": self.metric,
            "value": self.value,
            "judges": self.judges,
        }

    def line(self) -> str:
        """Return what a person reads."""
        return (
            f"{self.path}: {self.parameters:,} parameters, {self.metric} {self.value:.3f} on "
            f"{self.judges} patients who trained nothing; SHA-256 {self.provenance.digest}"
        )


def pretrain(task: Task, wishes: Pretraining, out: Path, told: Told) -> Made:
    """Train the task's network on public images and write weights and provenance.

    Args:
        task: Names the network, the recipe and the loss; its own optimiser is left alone.
        wishes: Whose images, and how long.
        out: The file to write; its provenance goes beside it.
        told: Hears one line after each stage and each epoch.

    Raises:
        RunError: ``out`` is already there or no safetensors name, or nobody can judge.
        SettingsError: There are no phantoms of this kind.
        DataError: The published images cannot be used.
    """
    _refuse_place(out)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fitted = write_patients(Path(folder), task, wishes)
        train, judges = read_patients(Path(folder), fitted)
        told(f"{len(train)} patients train, {len(judges)} judge")
        best, value = _train(_plain(fitted, wishes), wishes, (train, judges), told)
    write_safetensors(out, best)
    metric = _metric(task)
    known = Provenance(
        source=f"fedrad-sim pretrain, fedrad {fedrad.__version__}, torch {torch.__version__}",
        digest=durable.file_digest(out),
        training=_sentence(task, wishes),
        validation=(
            f"{metric} {value:.4f} on {len(judges)} patients who trained nothing; "
            "they chose the epoch"
        ),
        **described(wishes, len(train) + len(judges)),
    )
    write_provenance(out, known)
    size = sum(tensor.size for tensor in best.values())
    return Made(
        path=out,
        provenance=known,
        parameters=size,
        metric=metric,
        value=value,
        judges=len(judges),
    )


def _refuse_place(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise RunError(f"--out {out} must end in {SUFFIX}")
    for path in (out, provenance_path(out)):
        if path.exists():
            raise RunError(f"{path} is already there and may be part of a task; choose another")


def _plain(task: Task, wishes: Pretraining) -> Task:
    """Return the task as it is trained here: not private, with Adam."""
    training = replace(task.training, optimiser=Optimiser(name="adam", rate=wishes.rate))
    return replace(task, training=training, privacy=replace(task.privacy, enabled=False))


def _train(
    task: Task, wishes: Pretraining, sources: tuple[PatientSource, PatientSource], told: Told
) -> tuple[Parameters, float]:
    """Return the parameters of the best epoch and its score."""
    module = build(task, seed=wishes.seed)
    train, judges = (kept_features(module, source, task) for source in sources)
    best, top = whole(module), -math.inf
    for epoch in range(wishes.epochs):
        plan = _plan(len(train), wishes, epoch)
        train_round(module, train, task, plan=plan, augment=augmenter(task.recipe.augment))
        value = _score(module, judges, task)
        told(f"epoch {epoch + 1} of {wishes.epochs}: {_metric(task)} {value:.3f}")
        if value > top:
            best, top = whole(module), value
    if not math.isfinite(top):
        raise RunError(
            f"{len(judges)} judging patients cannot score a model: both classes must be among "
            "them; use more patients"
        )
    return best, top


def _plan(patients: int, wishes: Pretraining, epoch: int) -> StepPlan:
    if not patients:
        raise RunError("no patient is left to train on; use more")
    batch = min(wishes.batch_patients, float(patients))
    return StepPlan(
        q=batch / patients,
        sigma=0.0,
        steps=math.ceil(patients / batch),
        expected_batch_patients=batch,
        max_grad_norm=1.0,  # of private steps, which these are not
        batches=seeds.stream(wishes.seed, "", epoch, "pretraining"),
        rate=wishes.rate * (1 - epoch / wishes.epochs),
    )


def _score(module: nn.Module, source: PatientSource, task: Task) -> float:
    """Return the judges' AUROC or mean Dice; NaN where it has none."""
    if task.task.kind == "segmentation":
        found = case_dice(module, source)[0]
        return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan
    found = scores(module, source, positive=task.positive_index)
    return auroc(found, positive_labels(source, task))


def _metric(task: Task) -> str:
    return "dice_mean" if task.task.kind == "segmentation" else "auroc"


def _sentence(task: Task, wishes: Pretraining) -> str:
    return (
        f"{task.model.name} for task {task.task.name}, {wishes.epochs} epochs of Adam at rate "
        f"{wishes.rate:g} falling to 0, started anew every epoch, batches of "
        f"{wishes.batch_patients:g} patients, seed {wishes.seed}, without privacy"
    )
