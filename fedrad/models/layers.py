"""Layers that keep the records of a batch apart, and the check that none couples them.

Patient-level privacy needs one gradient per patient, so nothing in a network may look at
two records at once: GroupNorm and InstanceNorm stay, BatchNorm of any kind is refused or
replaced while the network is being built. Inputs are (N, C, [D,] H, W) float32.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedrad.errors import ModelError

# Classes outside torch's own BatchNorm family that also keep statistics over a batch.
COUPLING_NAMES = ("BatchNorm", "BatchRenorm", "InPlaceABN", "FrozenBatchNorm", "SwitchNorm")


def refuse_batch_coupling(module: nn.Module) -> None:
    """Refuse a network in which one record's output depends on another record.

    A frozen or non-affine BatchNorm is refused too: its running statistics are still
    updated from, and still carry, the images of the batch.

    Raises:
        ModelError: Names the class, where it stands and the way out.
    """
    for name, child in module.named_modules():
        if _couples(child):
            raise ModelError(
                f"{type(child).__name__} at {name or 'the top'!r} mixes the records of a batch, so "
                "no patient's share of a gradient can be bounded (frozen ones still keep "
                "running statistics of the images); use GroupNorm, or InstanceNorm without them"
            )


def replace_batch_norm(module: nn.Module, groups: int) -> nn.Module:
    """Put a GroupNorm in the place of every BatchNorm inside ``module``.

    Args:
        module: Changed in place and returned.
        groups: The wanted number of groups; a layer of C channels gets gcd(groups, C), so
            that blocks of 1 or 2 channels work.
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            channels = child.num_features
            setattr(module, name, nn.GroupNorm(math.gcd(groups, channels), channels))
        else:
            replace_batch_norm(child, groups)
    return module


class TopAndMean(nn.Module):
    """Pool each map to the mean of its ``top`` largest values and its overall mean.

    (N, C, …) to (N, 2 C). The first half finds something small and bright wherever it is,
    the second half something spread out.
    """

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool ``maps``; see the class."""
        flat = maps.flatten(2)
        largest = flat.topk(self.top, dim=2).values.mean(2)
        return torch.cat([largest, flat.mean(2)], dim=1)


class Grid(nn.Module):
    """Pool each map to the means of a grid of cells: (N, C, H, W) to (N, C * cells * cells)."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(cells)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool ``maps``; see the class."""
        pooled: torch.Tensor = self.pool(maps).flatten(1)
        return pooled


class AgainstZero(nn.Module):
    """Turn one logit into two classes: (N, 1, …) to (N, 2, …), the first class at 0.

    Softmax over (0, z) is the logistic function of z, so half the last layer's parameters
    (and half of its privacy noise) suffice.
    """

    def forward(self, logit: torch.Tensor) -> torch.Tensor:
        """Prepend the zero logit; see the class."""
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def _couples(module: nn.Module) -> bool:
    if isinstance(module, _BatchNorm):  # SyncBatchNorm included; InstanceNorm is its sibling
        return True
    if getattr(module, "track_running_stats", False):
        return True
    name = type(module).__name__
    return any(name.startswith(known) for known in COUPLING_NAMES)
