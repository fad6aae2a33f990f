"""Slower ways to the same sums."""

from __future__ import annotations

import math

import torch
from torch import nn

from site_client.training.losses import Loss
from site_client.training.source import Record, stack_images, stack_truth


def one_by_one(
    module: nn.Module, patients: list[Record], loss: Loss, max_norm: float
) -> dict[str, torch.Tensor]:
    """The clipped sum by one ordinary backward pass per image, float64 bookkeeping."""
    weights = {name: t for name, t in module.named_parameters() if t.requires_grad}
    total = {name: torch.zeros_like(t, dtype=torch.float64) for name, t in weights.items()}
    for patient in patients:
        images, truth = stack_images([patient]), stack_truth([patient])
        each = [
            torch.autograd.grad(
                loss(module(images[i : i + 1]), truth[i : i + 1]).sum(),
                list(weights.values()),
                materialize_grads=True,
            )
            for i in range(len(images))
        ]
        mean = [torch.stack(parts).double().mean(0) for parts in zip(*each, strict=True)]
        norm = math.sqrt(sum(float(part.square().sum()) for part in mean))
        for name, part in zip(weights, mean, strict=True):
            total[name] += part * min(1.0, max_norm / norm)
    return total


def apart(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """How far two sums are from each other, relative to the second."""
    difference = sum(float((left[n].double() - right[n]).square().sum()) for n in right)
    size = sum(float(tensor.double().square().sum()) for tensor in right.values())
    return math.sqrt(difference / size)
