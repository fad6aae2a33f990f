"""Give every kind of layer its rule: from its two signals to each patient's gradient.

A rule reads the input of a layer and the gradient of the loss at its output, (N, C, …)
both, and gives one ``Share`` for each of its trained tensors. Nothing here runs a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from fedrad.errors import ModelError
from site_client.training.gradients import correlation
from site_client.training.gradients.correlation import Geometry
from site_client.training.gradients.grouping import Grouping
from site_client.training.gradients.shares import Kept, Recomputed, Share

# Gradients are recomputed instead of kept where 2 T² <= weights * this (T: positions of a
# group): below it the Gram matrices cost little beside the memory of the gradients.
RECOMPUTE = 1 / 16
SHORT = 64  # positions
NORM_FIRST, BY_GROUP, SUMMED = "norm first", "by group", "summed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What passed through one layer."""

    given: torch.Tensor  # its input, float32
    back: torch.Tensor  # the gradient of the loss at its output, float32
    grouping: Grouping


Rule = Callable[[nn.Module, Seen, str], Iterator[Share]]


def rule_for(module: nn.Module) -> Rule | None:
    """Return the rule for a layer, or None: it has none, or another forward than torch's."""
    for kind, rule in RULES.items():
        if isinstance(module, kind):
            return rule if _is_plain(module, kind) else None
    return None


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the layer's own trained tensors by name, those of its children left out."""
    own = module.named_parameters(recurse=False)
    return {name: tensor for name, tensor in own if tensor.requires_grad}


def convolution(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of a convolution, plain or transposed."""
    if not isinstance(module, _ConvNd):
        raise ModelError(f"{type(module).__name__} is no convolution")
    if "weight" in trained(module):
        given, back = seen.given, seen.back
        if isinstance(module, _ConvTransposeNd):
            given, back = back, given
        yield _correlated(_geometry(module), Seen(given, back, seen.grouping), prefix + "weight")
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(_over_positions(seen.back)))


def linear(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of a linear layer; inputs (N, …, I), outputs (N, …, O)."""
    if not isinstance(module, nn.Linear):
        raise ModelError(f"{type(module).__name__} is no linear layer")
    given, back = (_channels_second(signal) for signal in (seen.given, seen.back))
    if "weight" in trained(module):
        geometry = Geometry(tuple(module.weight.shape), (1,), (0,), (1,), 1)
        yield _correlated(geometry, Seen(given, back, seen.grouping), prefix + "weight")
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(_over_positions(back)))


def channel_norm(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of GroupNorm and InstanceNorm: one weight and bias a channel.

    The weight's gradient is the sum over positions of the output's gradient times the
    normalised input.
    """
    if not isinstance(module, (nn.GroupNorm, _InstanceNorm)):
        raise ModelError(f"{type(module).__name__} is no GroupNorm or InstanceNorm")
    back = seen.back.flatten(2)
    if "weight" in trained(module):
        level = _levelled(seen.given.flatten(2), module)
        rows = _over_positions(level.mul_(back))
        yield Kept(prefix + "weight", SUMMED, seen.grouping.sums(rows))
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(_over_positions(back)))


def layer_norm(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of LayerNorm: one weight and bias for each normalised element."""
    if not isinstance(module, nn.LayerNorm):
        raise ModelError(f"{type(module).__name__} is no LayerNorm")
    shape = tuple(module.normalized_shape)
    back = seen.back
    middle = (len(back), -1, *shape)
    if "weight" in trained(module):
        level = nn.functional.layer_norm(seen.given, shape, eps=module.eps)
        rows = (back * level).reshape(middle).sum(1)
        yield Kept(prefix + "weight", SUMMED, seen.grouping.sums(rows))
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(back.reshape(middle).sum(1)))


def prelu(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradient of PReLU's slope: gradient times input where that is negative [1].

    References:
        [1] He et al., Delving Deep into Rectifiers, ICCV 2015, eq. 4.
    """
    if not isinstance(module, nn.PReLU):
        raise ModelError(f"{type(module).__name__} is no PReLU")
    if trained(module):
        products = seen.given.clamp(max=0) * seen.back
        front = (len(products), module.weight.numel(), -1)
        yield Kept(prefix + "weight", SUMMED, seen.grouping.sums(products.reshape(front).sum(2)))


RULES: dict[type[nn.Module], Rule] = {
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.ConvTranspose1d: convolution,
    nn.ConvTranspose2d: convolution,
    nn.ConvTranspose3d: convolution,
    nn.Linear: linear,
    nn.GroupNorm: channel_norm,
    nn.InstanceNorm1d: channel_norm,
    nn.InstanceNorm2d: channel_norm,
    nn.InstanceNorm3d: channel_norm,
    nn.LayerNorm: layer_norm,
    nn.PReLU: prelu,
}


def _correlated(geometry: Geometry, seen: Seen, name: str) -> Share:
    given, back, grouping = seen.given, seen.back, seen.grouping
    matrices = geometry.pointwise or (len(geometry.stride) == 2 and geometry.groups == 1)
    positions = math.prod(back.shape[2:]) * grouping.largest
    if matrices and 2 * positions**2 <= geometry.weights * RECOMPUTE:
        squared = grouping.joined(partial(correlation.squared_norms, geometry, given, back))
        gradient = partial(correlation.whole, geometry)
        return Recomputed(name, NORM_FIRST, squared, (given, back), grouping, gradient)
    rows = grouping.joined(partial(correlation.by_group, geometry, given, back))
    return Kept(name, BY_GROUP, rows)


def _channels_second(signal: torch.Tensor) -> torch.Tensor:
    """(N, …, C) to (N, C, T)."""
    return signal.reshape(len(signal), -1, signal.shape[-1]).transpose(1, 2)


def _over_positions(signal: torch.Tensor) -> torch.Tensor:
    """Return the sum over all positions, (N, C, …) to (N, C).

    Short sums go through a matrix product, which is faster.
    """
    flat = signal.flatten(2)
    if flat.shape[2] < SHORT:
        return flat @ flat.new_ones(flat.shape[2])
    return flat.sum(2)


def _levelled(given: torch.Tensor, module: nn.GroupNorm | _InstanceNorm) -> torch.Tensor:
    """Return (N, C, T) normalised over each group of channels, without weight and bias."""
    groups = module.num_groups if isinstance(module, nn.GroupNorm) else given.shape[1]
    return nn.functional.group_norm(given, groups, eps=module.eps)


def _geometry(module: _ConvNd) -> Geometry:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise ModelError(
            f"{type(module).__name__} with padding {module.padding!r} of {module.padding_mode} "
            "has no rule for patients' gradients; give the padding as numbers, of zeros"
        )
    shape = tuple(module.weight.shape)
    return Geometry(shape, module.stride, module.padding, module.dilation, module.groups)


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the layer computes what torch's own class does."""
    names = ("forward", "_conv_forward")
    return all(getattr(type(module), n, None) is getattr(kind, n, None) for n in names)
