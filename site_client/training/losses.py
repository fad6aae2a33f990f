"""Losses that give one value per record and let no record weigh on another.

A class weight is fixed and public: weights normalised over a batch would let one patient's
presence change another's gradient [1]. Logits are (N, 2, …), truth (N, …) int64; every loss
returns (N,) in nats or as 1 - Dice.

References:
    [1] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, sec. 3.1: the
        sensitivity of a sum of clipped gradients needs each to depend on one record alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from fedrad.task import Task

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(task: Task) -> Loss:
    """Return the loss that ``task.training`` names, with its class weights."""
    name = task.training.loss
    weights = task.training.class_weights
    weight = torch.tensor(weights, dtype=torch.float32) if weights else None
    if name == "dice":
        return dice
    if name == "dice_ce":
        return lambda logits, truth: dice(logits, truth) + cross_entropy(logits, truth, weight)
    return lambda logits, truth: cross_entropy(logits, truth, weight)


def cross_entropy(
    logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the cross-entropy of every record, the mean over its pixels if it has any.

    Args:
        logits: (N, 2, …) float.
        truth: (N, …) int64, 0 or 1.
        weight: One factor per class, (2,); None means 1.
    """
    factors = None if weight is None else weight.to(logits.device)
    each = functional.cross_entropy(logits, truth, weight=factors, reduction="none")
    return each.reshape(len(each), -1).mean(1)


def dice(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return 1 - soft Dice of class 1 of every record, in [0, 1] [2].

    One pixel is added above and below, so an empty record with an empty prediction costs 0.

    References:
        [2] Milletari et al., V-Net, 3DV 2016, sec. 3, with plain sums in the denominator.
    """
    probability = logits.softmax(1)[:, 1].flatten(1)
    target = truth.flatten(1).to(probability.dtype)
    overlap = (probability * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return 1 - (2 * overlap + 1) / (total + 1)
