"""Give every kind of layer its rule: from its two signals to each patient's gradient.

A rule reads the input of a layer and the gradient of the loss at its output, (N, C, …)
both, and gives one ``Share`` for each of its trained tensors. Nothing here runs a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
NORM_FIRST, BY_GROUP, SUMMED = "norm first", "by group", "summed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What passed through one layer."""

    given: torch.Tensor  # its input
    back: torch.Tensor  # the gradient of the loss at its output
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
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(seen.back.flatten(2).sum(2)))


def linear(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of a linear layer; inputs (N, …, I), outputs (N, …, O)."""
    given, back = (_columns(signal) for signal in (seen.given, seen.back))
    if "weight" in trained(module):
        yield _products(prefix + "weight", Seen(given.to(back.dtype), back, seen.grouping))
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(back.sum(2)))


def channel_norm(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of GroupNorm and InstanceNorm: one weight and bias a channel.

    The weight's gradient is the sum over positions of the output's gradient times the
    normalised input.
    """
    if not isinstance(module, (nn.GroupNorm, _InstanceNorm)):
        raise ModelError(f"{type(module).__name__} is no GroupNorm or InstanceNorm")
    back = seen.back.flatten(2).float()
    if "weight" in trained(module):
        level = _levelled(seen.given.flatten(2).float(), module)
        yield Kept(prefix + "weight", SUMMED, seen.grouping.sums((level * back).sum(2)))
    if "bias" in trained(module):
        yield Kept(prefix + "bias", SUMMED, seen.grouping.sums(back.sum(2)))


def layer_norm(module: nn.Module, seen: Seen, prefix: str) -> Iterator[Share]:
    """Share the gradients of LayerNorm: one weight and bias for each normalised element."""
    if not isinstance(module, nn.LayerNorm):
        raise ModelError(f"{type(module).__name__} is no LayerNorm")
    shape = tuple(module.normalized_shape)
    back = seen.back.float()
    middle = (len(back), -1, *shape)
    if "weight" in trained(module):
        level = nn.functional.layer_norm(seen.given.float(), shape, eps=module.eps)
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
        products = seen.given.float().clamp(max=0) * seen.back.float()
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
    given, back, grouping = seen.given.to(seen.back.dtype), seen.back, seen.grouping
    blocks = list(grouping.blocks)
    matrices = len(geometry.stride) == 2 and geometry.groups == 1
    if matrices and _is_small(back, grouping, geometry.weights):
        norms = [correlation.squared_norms(geometry, given, back, block) for block in blocks]

        def gradient(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return correlation.whole(geometry, one, other)

        return Recomputed(name, NORM_FIRST, torch.cat(norms), (given, back), grouping, gradient)
    rows = [correlation.by_group(geometry, given, back, block) for block in blocks]
    return Kept(name, BY_GROUP, torch.cat(rows))


def _products(name: str, seen: Seen) -> Share:
    """Share the gradient back @ givenᵀ of (N, I, T) and (N, O, T)."""
    given, back, grouping = seen.given, seen.back, seen.grouping
    blocks = list(grouping.blocks)
    if _is_small(back, grouping, given.shape[1] * back.shape[1]):
        norms = [correlation.product_norms(given, back, block) for block in blocks]
        return Recomputed(name, NORM_FIRST, torch.cat(norms), (given, back), grouping, _product)
    rows = torch.bmm(back, given.transpose(1, 2))
    return Kept(name, BY_GROUP, grouping.sums(rows))


def _product(given: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    gradient: torch.Tensor = torch.tensordot(back, given, ([0, 2], [0, 2]))
    return gradient


def _is_small(back: torch.Tensor, grouping: Grouping, weights: int) -> bool:
    positions = math.prod(back.shape[2:]) * grouping.largest
    return 2 * positions**2 <= weights * RECOMPUTE


def _columns(signal: torch.Tensor) -> torch.Tensor:
    """(N, …, C) to (N, C, T)."""
    return signal.reshape(len(signal), -1, signal.shape[-1]).transpose(1, 2)


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
