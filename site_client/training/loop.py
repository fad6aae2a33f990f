"""Train one round at one site: private where the plan has noise, plain where it has none.

The plan holds every number that decides the result, with its sources of chance; the same
plan, data and starting weights give the same bits. The local optimiser starts anew every
round. What a round costs and whether it may run belongs to ``guard`` and ``journal``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fedrad.errors import ModelError, PrivacyError
from fedrad.parameters import Parameters, refuse_non_finite, subtract, trainable
from fedrad.settings import refuse_problems
from fedrad.task import CLIP_NORMS, Task
from site_client.training.descent import descent
from site_client.training.gradients import (
    GradientSum,
    Tensors,
    clipped_sum,
    plain_sum,
    refuse_unfit,
)
from site_client.training.losses import Loss, loss_of
from site_client.training.memory import freed_memory_kept
from site_client.training.private import noised_mean
from site_client.training.sampling import Rates, is_rate, poisson_sample
from site_client.training.source import (
    Array,
    PatientImages,
    PatientSource,
    Record,
    StemFeatures,
    through_stem,
)

logger = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Augment = Callable[[Array, Array | None, np.random.Generator], tuple[Array, Array | None]]


def no_pause() -> None:
    """Go on with the next step at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """Every number of a round's local steps, and where its chance comes from."""

    q: float | Rates  # chance of each patient to be drawn in a step, in (0, 1]
    sigma: float  # noise multiplier; 0: plain training
    steps: int
    expected_batch_patients: float  # the divisor; never the drawn number
    max_grad_norm: float
    batches: np.random.Generator
    noise: np.random.Generator | None = None  # needed where sigma > 0
    rate: float | None = None  # instead of the task's learning rate
    proximal: float = 0.0  # mu of FedProx
    pause: Callable[[], None] = no_pause  # called before every step but the first

    def __post_init__(self) -> None:
        refuse_problems("plan", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not is_rate(self.q):
            yield f"q must lie in (0, 1], got {self.q}"
        if self.sigma < 0 or (self.sigma > 0 and self.noise is None):
            yield f"sigma must be 0 or more, and have a noise generator above 0, got {self.sigma}"
        if self.steps < 1:
            yield f"steps must be 1 or more, got {self.steps}"
        if not self.expected_batch_patients > 0:
            yield f"expected_batch_patients must exceed 0, got {self.expected_batch_patients}"
        low, high = CLIP_NORMS
        if not low <= self.max_grad_norm <= high:
            yield f"max_grad_norm must lie between {low} and {high:g}, got {self.max_grad_norm}"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a round made. Only ``update`` may leave, and only as private as the plan was."""

    update: Parameters  # trained minus received
    steps: int
    skipped: int  # patient gradients that were not finite; stays at the site


def train_round(
    module: nn.Module,
    source: PatientSource,
    task: Task,
    *,
    plan: StepPlan,
    augment: Augment | None = None,
) -> Trained:
    """Take the plan's local steps on ``module``, whose weights are changed in place.

    An empty draw still takes its step, with noise alone where the plan is private.

    Args:
        module: With the weights that were received.
        source: The site's training patients, or a kept ``FeatureSource`` of them.
        task: Names the loss and the optimiser.
        plan: The numbers; see ``StepPlan``.
        augment: Changes images (K, 1, …) and masks of one patient, chance from
            ``plan.batches``; stem features are not stored then.

    Raises:
        NonFiniteUpdateError: A weight is no longer finite; names the tensor.
        ModelError: Loss, labels and network do not fit.
    """
    received = trainable(module)
    part, patients = (module, source) if augment else through_stem(module, source)
    part.train()
    loss = loss_of(task)
    if plan.sigma > 0 and len(patients):
        refuse_unfit(part, loss, patients.record(0))
    choice = task.training.optimiser
    rate = choice.rate if plan.rate is None else plan.rate
    descend = descent(_trained(part), choice, rate=rate)
    anchors = [tensor.detach().clone() for tensor in _trained(part)]
    skipped = 0
    with freed_memory_kept():
        for step in range(plan.steps):
            if step:
                plan.pause()
            records = _draw(patients, plan, augment, task.training.augmentations)
            summed = _summed(part, records, loss, plan, PRECISIONS[task.training.precision])
            _step(part, _gradient(summed, plan), anchors, plan.proximal)
            descend()
            skipped += summed.skipped
    if skipped:
        logger.warning("gradients left out, not finite", extra={"left_out": skipped})
    update = subtract(trainable(module), received)
    refuse_non_finite(update)
    return Trained(update, plan.steps, skipped)


def _draw(
    patients: PatientSource, plan: StepPlan, augment: Augment | None, copies: int
) -> list[Record]:
    drawn = poisson_sample(len(patients), plan.q, plan.batches)
    records = [patients.record(int(index)) for index in drawn]
    if augment is None:
        return records
    if any(isinstance(record, StemFeatures) for record in records):
        raise ModelError("stored features cannot be augmented; give images, or drop recipe.augment")
    return [_changed(record, plan.batches, augment, copies) for record in records]


def _changed(
    record: Record, rng: np.random.Generator, augment: Augment, copies: int
) -> PatientImages:
    """Return a patient with so many changed copies of every image [1].

    References:
        [1] De et al., Unlocking High-Accuracy Differentially Private Image Classification
            through Scale, 2022, sec. 3: augmentation multiplicity.
    """
    masks = None if record.masks is None else np.concatenate([record.masks] * copies)
    images, masks = augment(np.concatenate([record.images] * copies), masks, rng)
    return PatientImages(record.key, images, record.label, masks)


def _summed(
    part: nn.Module, records: list[Record], loss: Loss, plan: StepPlan, precision: torch.dtype
) -> GradientSum:
    if plan.sigma > 0:
        bound = plan.max_grad_norm
        return clipped_sum(part, records, loss, max_norm=bound, precision=precision)
    return plain_sum(part, records, loss, precision=precision)


def _gradient(summed: GradientSum, plan: StepPlan) -> Tensors:
    if plan.sigma > 0:
        if plan.noise is None:
            raise PrivacyError("a private step needs a noise generator")
        std = plan.sigma * plan.max_grad_norm
        return noised_mean(summed, plan.noise, std=std, divisor=plan.expected_batch_patients)
    return {name: t / plan.expected_batch_patients for name, t in summed.total.items()}


def _step(part: nn.Module, gradient: Tensors, anchors: list[torch.Tensor], mu: float) -> None:
    """Set every gradient; FedProx pulls towards the received weights, after the noise [1].

    References:
        [1] Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, eq. 2.
    """
    for tensor, value, anchor in zip(_trained(part), gradient.values(), anchors, strict=True):
        tensor.grad = value + mu * (tensor.detach() - anchor) if mu else value


def _trained(part: nn.Module) -> list[nn.Parameter]:
    return [tensor for tensor in part.parameters() if tensor.requires_grad]
