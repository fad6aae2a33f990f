"""Sum the clipped gradients of patients: the one place where a patient's share is bounded.

A patient's gradient is that of the mean loss over the patient's images, all tensors
together clipped to one L2 norm; so a patient moves the sum by at most that norm, whether
with 1 image or with 50 [1]. Gradients are exact, in one forward and one backward pass
(``engine``). Noise belongs to ``private``.

References:
    [1] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from site_client.training.gradients.engine import shares_of
from site_client.training.gradients.grouping import Grouping
from site_client.training.gradients.shares import Share
from site_client.training.gradients.sums import GradientSum, chunks, trained_tensors
from site_client.training.losses import Loss
from site_client.training.source import Record, place_of, stack_images, stack_truth

LARGEST_NORM = 1e30  # a larger one is taken for infinite: its factor would not be exact
ROUNDING = 1 - 2.0**-15  # the sum of float32 numbers stays within the bound all the same
ROUNDING_OF_A_GPU = 1 - 2.0**-10  # whose convolutions trade accuracy for speed


def clipped_sum(
    module: nn.Module,
    patients: Sequence[Record],
    loss: Loss,
    *,
    max_norm: float,
    precision: torch.dtype = torch.float32,
) -> GradientSum:
    """Return the sum of the patients' gradients, each clipped to ``max_norm``.

    The order of ``patients`` changes no bit: they are summed by number of images, then key.
    A patient whose images or gradient are not finite adds zero and is counted.

    Args:
        module: Whose trained parameters the gradients are of; unchanged.
        patients: Any number, also none.
        loss: One value per image.
        max_norm: The largest L2 norm of one patient's gradient over all tensors; 0.01 to
            10,000 where it is a promise: float32 has nothing between very small squares and 0.
        precision: Of the signals in the network, float32 or bfloat16; see ``engine``.

    Raises:
        ModelError: The gradients of a layer or of the loss are not known patient by
            patient; names it and the way out.
    """
    total = {name: torch.zeros_like(tensor) for name, tensor in trained_tensors(module).items()}
    skipped = 0
    for chunk in chunks(patients):
        shares = _shares(module, chunk, loss, precision)
        finite = _finite(chunk).to(place_of(module))
        factors = clip_factors(shares, max_norm) if shares else finite.float()
        factors = factors.where(finite, 0.0)
        skipped += int((factors == 0).sum())
        for share in shares:
            total[share.name] += share.weighted_sum(factors)
    return GradientSum(total, skipped)


def clip_factors(shares: Sequence[Share], max_norm: float) -> torch.Tensor:
    """Return each group's float32 factor in [0, 1], which bounds its joint norm; 0: not finite."""
    squared = torch.stack([share.squared.double() for share in shares]).sum(0)
    norms = squared.sqrt()
    within = max_norm * (ROUNDING if norms.device.type == "cpu" else ROUNDING_OF_A_GPU)
    factors = (within / norms.clamp(min=1e-30)).clamp(max=1.0)
    return torch.where(norms <= LARGEST_NORM, factors, 0.0).float()


def _finite(chunk: list[Record]) -> torch.Tensor:
    return torch.tensor([bool(np.isfinite(record.images).all()) for record in chunk])


def _shares(
    module: nn.Module, chunk: list[Record], loss: Loss, precision: torch.dtype
) -> list[Share]:
    place = place_of(module)
    images, truth = stack_images(chunk, place), stack_truth(chunk, place)
    grouping = Grouping(tuple(len(record.images) for record in chunk))

    def losses(output: torch.Tensor) -> torch.Tensor:
        return loss(output, truth)

    return shares_of(module, images, losses, grouping, precision=precision)
