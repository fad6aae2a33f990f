"""Sum the clipped gradients of patients: the one place where a patient's share is bounded.

A patient's gradient is that of the mean loss over the patient's images, all tensors
together clipped to one L2 norm; so a patient moves the sum by at most that norm, whether
with 1 image or with 50 [1]. Gradients are taken exactly, patient by patient, by vectorising
over patients with equally many images. Noise belongs to ``private``.

References:
    [1] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, sec. 3.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from site_client.training.losses import Loss
from site_client.training.source import Record, stack_images, stack_truth

Tensors = dict[str, torch.Tensor]

CHUNK_BYTES = 256 * 2**20  # memory for the per-patient gradients of one chunk
CHUNK_IMAGES = 64  # and at most so many images at a time


@dataclass(frozen=True, slots=True)
class GradientSum:
    """A sum over patients; not private before noise is added."""

    total: Tensors  # one tensor per trained parameter, in the module's order
    skipped: int  # patients left out because a gradient was not finite


def clipped_sum(
    module: nn.Module, patients: Sequence[Record], loss: Loss, *, max_norm: float
) -> GradientSum:
    """Return the sum of the patients' gradients, each clipped to ``max_norm``.

    The order of ``patients`` changes no bit: they are summed by number of images, then key.
    A patient whose gradient is not finite adds zero and is counted.

    Args:
        module: Whose trained parameters the gradients are of; unchanged.
        patients: Any number, also none.
        loss: One value per image.
        max_norm: The largest L2 norm of one patient's gradient over all tensors.
    """
    weights = trained_tensors(module)
    total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    skipped = 0

    def mean_loss(given: Tensors, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return loss(functional_call(module, given, (images,)), truth).mean()

    gradients_of = vmap(grad(mean_loss), in_dims=(None, 0, 0))
    for chunk in _chunks(patients, weights):
        images, truth = _by_patient(chunk)
        gradients = gradients_of(weights, images, truth)
        factors = clip_factors(gradients, max_norm)
        skipped += int((factors == 0).sum())
        for name, gradient in gradients.items():
            total[name] += _weighted_sum(gradient, factors)
    return GradientSum(total, skipped)


def plain_sum(module: nn.Module, patients: Sequence[Record], loss: Loss) -> GradientSum:
    """Return the sum of the patients' gradients without any bound: not for private training.

    A patient whose loss is not finite adds zero and is counted. Arguments are those of
    ``clipped_sum``.
    """
    weights = [tensor for tensor in module.parameters() if tensor.requires_grad]
    sums = [torch.zeros_like(tensor) for tensor in weights]
    skipped = 0
    for chunk in _chunks(patients, {}):
        losses = _patient_losses(module, chunk, loss)
        finite = losses.isfinite().tolist()
        if not all(finite):
            skipped += finite.count(False)
            kept = [record for record, keep in zip(chunk, finite, strict=True) if keep]
            losses = _patient_losses(module, kept, loss)
        for index, part in enumerate(_gradients(losses, weights)):
            sums[index] += part
    return GradientSum(dict(zip(trained_tensors(module), sums, strict=True)), skipped)


def trained_tensors(module: nn.Module) -> Tensors:
    """Return the trained parameters by name, sharing memory, without their history."""
    named = module.named_parameters()
    return {name: tensor.detach() for name, tensor in named if tensor.requires_grad}


def clip_factors(gradients: Tensors, max_norm: float) -> torch.Tensor:
    """Return the float32 factor in [0, 1] that bounds each row's joint norm; 0: not finite."""
    squares = [tensor.flatten(1).double().square().sum(1) for tensor in gradients.values()]
    norms = torch.stack(squares).sum(0).sqrt()
    factors = (max_norm / norms.clamp(min=1e-30)).clamp(max=1.0)
    return torch.where(norms.isfinite(), factors, 0.0).float()


def _weighted_sum(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    kept = torch.where((factors > 0).reshape(-1, *[1] * (rows.ndim - 1)), rows, 0.0)
    return (factors[None] @ kept.flatten(1)).reshape(rows.shape[1:])


def _chunks(patients: Sequence[Record], weights: Tensors) -> Iterator[list[Record]]:
    """Yield patients with equally many images, as many as fit in memory at a time."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    fitting = CHUNK_BYTES // max(size, 1)
    by_count = sorted(patients, key=lambda record: (len(record.images), record.key))
    for count, group in itertools.groupby(by_count, key=lambda record: len(record.images)):
        records = list(group)
        step = max(1, min(fitting, CHUNK_IMAGES // count))
        for start in range(0, len(records), step):
            yield records[start : start + step]


def _by_patient(chunk: list[Record]) -> tuple[torch.Tensor, torch.Tensor]:
    images, truth = stack_images(chunk), stack_truth(chunk)
    front = (len(chunk), -1)
    return images.reshape(*front, *images.shape[1:]), truth.reshape(*front, *truth.shape[1:])


def _patient_losses(module: nn.Module, chunk: list[Record], loss: Loss) -> torch.Tensor:
    if not chunk:
        return torch.zeros(0)
    each = loss(module(stack_images(chunk)), stack_truth(chunk))
    return each.reshape(len(chunk), -1).mean(1)


def _gradients(losses: torch.Tensor, weights: list[nn.Parameter]) -> list[torch.Tensor]:
    if not len(losses):
        return [torch.zeros_like(tensor) for tensor in weights]
    parts = torch.autograd.grad(losses.sum(), weights, materialize_grads=True)
    return list(parts)
