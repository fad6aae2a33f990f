"""Sum patients' gradients without a bound: for training that is not private."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from site_client.training.gradients.precision import signals_in
from site_client.training.gradients.sums import GradientSum, chunks, trained_tensors
from site_client.training.losses import Loss
from site_client.training.source import Record, place_of, stack_images, stack_truth


def plain_sum(
    module: nn.Module,
    patients: Sequence[Record],
    loss: Loss,
    *,
    precision: torch.dtype = torch.float32,
) -> GradientSum:
    """Return the sum of the patients' gradients without any bound: not for private training.

    A patient whose loss is not finite adds zero and is counted.

    Args:
        module: Whose trained parameters the gradients are of; unchanged.
        patients: Any number, also none.
        loss: One value per image.
        precision: Of the signals in the network, float32 or bfloat16.
    """
    weights = [tensor for tensor in module.parameters() if tensor.requires_grad]
    sums = [torch.zeros_like(tensor) for tensor in weights]
    skipped = 0
    for chunk in chunks(patients):
        losses = _patient_losses(module, chunk, loss, precision)
        finite = losses.isfinite().cpu().tolist()
        if not all(finite):
            skipped += finite.count(False)
            kept = [record for record, keep in zip(chunk, finite, strict=True) if keep]
            losses = _patient_losses(module, kept, loss, precision)
        for index, part in enumerate(_gradients(losses, weights)):
            sums[index] += part
    return GradientSum(dict(zip(trained_tensors(module), sums, strict=True)), skipped)


def _patient_losses(
    module: nn.Module, chunk: list[Record], loss: Loss, precision: torch.dtype
) -> torch.Tensor:
    if not chunk:
        return torch.zeros(0, device=place_of(module))
    place = place_of(module)
    with signals_in(precision, place):
        output = module(stack_images(chunk, place))
    each = loss(output.float(), stack_truth(chunk, place))
    counts = [len(record.images) for record in chunk]
    return torch.stack([part.mean() for part in torch.split(each, counts)])


def _gradients(losses: torch.Tensor, weights: list[nn.Parameter]) -> list[torch.Tensor]:
    if not len(losses):
        return [torch.zeros_like(tensor) for tensor in weights]
    parts = torch.autograd.grad(losses.sum(), weights, materialize_grads=True)
    return list(parts)
