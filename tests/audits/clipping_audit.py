"""Audit clipping with canaries: one patient at a time whose gradient lies in one layer.

``audit_clipping`` judges a function with the arguments of ``clipped_sum``. For every trained
layer of small networks, which together hold every kind of layer that has a rule, it makes the
gradient of one patient lie in that layer, adds and removes the patient, and compares how the
sum moves with one ordinary backward pass: by C where the gradient is large, by the gradient
itself where it is small. Without a layer whose norm was forgotten, or one clipped on its own,
the patient would move the sum by more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from site_client.training.gradients import GradientSum, Tensors
from site_client.training.losses import cross_entropy
from site_client.training.private import ROUNDING_MARGIN
from site_client.training.source import PatientImages, Record, stack_images, stack_truth

ClippedSum = Callable[..., GradientSum]
MakeLayers = Callable[[], list[nn.Module]]

GAIN = 1e4  # how much larger the chosen layer's gradient is made than the others'
OFF = 2e-3  # accepted relative error against the ordinary backward pass
IMAGES = 4  # of the canary, nearly alike, so that they do not cancel


class Times(nn.Module):
    """Multiply by a constant: behind a layer it scales the gradient of its tensors."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal * self.factor


def layers_2d() -> list[nn.Module]:
    """Every kind of layer on images of 8 × 8; some with few positions and many weights."""
    return [
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.PReLU(),
        nn.Conv2d(8, 16, 3, stride=2, dilation=2, padding=2, groups=4, bias=False),
        nn.InstanceNorm2d(16, affine=True),
        nn.PReLU(16),
        nn.Conv2d(16, 64, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(64, 16, 3, stride=2),
        nn.LayerNorm([16, 3, 3]),
        nn.Flatten(),
        nn.Linear(144, 20),
        nn.LayerNorm(20),
        nn.PReLU(),
        nn.Linear(20, 2, bias=False),
    ]


def layers_1d() -> list[nn.Module]:
    """The same on signals of 16. A bias before a norm has no gradient, so there is none."""
    return [
        nn.Conv1d(1, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.PReLU(),
        nn.Conv1d(8, 4, 5, stride=2, groups=2, bias=False),
        nn.InstanceNorm1d(4, affine=True),
        nn.ConvTranspose1d(4, 6, 2, stride=2, bias=False),
        nn.LayerNorm(12),
        nn.Flatten(),
        nn.Linear(72, 2),
    ]


def layers_3d() -> list[nn.Module]:
    """The same on volumes of 8 × 8 × 8."""
    return [
        nn.Conv3d(1, 4, 3, padding=1, bias=False),
        nn.InstanceNorm3d(4, affine=True),
        nn.PReLU(4),
        nn.Conv3d(4, 8, (1, 3, 3), stride=2, groups=2),
        nn.GroupNorm(4, 8),
        nn.PReLU(),
        nn.Conv3d(8, 32, 3),
        nn.ConvTranspose3d(32, 4, 3, stride=2, output_padding=1),
        nn.LeakyReLU(inplace=True),
        nn.AvgPool3d(2),
        nn.Flatten(),
        nn.LayerNorm(48),
        nn.Linear(48, 2),
    ]


NETWORKS: dict[str, tuple[MakeLayers, tuple[int, ...]]] = {
    "1D": (layers_1d, (16,)),
    "2D": (layers_2d, (8, 8)),
    "3D": (layers_3d, (8, 8, 8)),
}


def audit_clipping(clipped: ClippedSum, network: str, *, place: str = "") -> Iterator[str]:
    """Yield what is wrong with how patients are bounded.

    Args:
        clipped: Judged; called as ``clipped(module, patients, loss, max_norm=C)``.
        network: One of ``NETWORKS``.
        place: Only canaries in whose place this text is; empty: all.
    """
    make, size = NETWORKS[network]
    for where, module in canary_networks(make):
        if place in where:
            for finding in _moves(clipped, module, _patients(size)):
                yield f"{where}: {finding}"


def canary_networks(make: MakeLayers) -> Iterator[tuple[str, nn.Module]]:
    """Yield networks with where a patient's gradient lies in them.

    Spread over all layers; nearly all of it in one layer, for every layer; and in one tensor
    that alone is trained, for every tensor.
    """
    yield "gradient in all layers", _built(make)
    chosen = [i for i, layer in enumerate(make()) if list(layer.parameters())]
    for index in chosen:
        yield f"gradient in {index} {type(make()[index]).__name__}", _built(make, index)
    for alone, _ in _built(make).named_parameters():
        module = _built(make)
        for name, tensor in module.named_parameters():
            tensor.requires_grad_(name == alone)
        yield f"only {alone} trained", module


def gradients_of(module: nn.Module, images: torch.Tensor, truth: torch.Tensor) -> Tensors:
    """Return the gradients of the mean loss by one ordinary backward pass."""
    named = {name: t for name, t in module.named_parameters() if t.requires_grad}
    mean = cross_entropy(module(images), truth).mean()
    return dict(zip(named, torch.autograd.grad(mean, list(named.values())), strict=True))


def joint_norm(tensors: Tensors) -> float:
    """Return the L2 norm over all tensors, in float64."""
    return float(torch.stack([t.double().square().sum() for t in tensors.values()]).sum().sqrt())


def _moves(clipped: ClippedSum, module: nn.Module, patients: list[Record]) -> Iterator[str]:
    """Yield how adding the last patient moves the sum otherwise than it should."""
    gradient = gradients_of(module, stack_images(patients[-1:]), stack_truth(patients[-1:]))
    norm = joint_norm(gradient)
    for max_norm in (norm / 30, 3 * norm):
        every, without = (
            clipped(module, group, cross_entropy, max_norm=max_norm).total
            for group in (patients, patients[:-1])
        )
        moved = {name: every[name].double() - without[name] for name in gradient}
        if joint_norm(moved) > max_norm * (1 + ROUNDING_MARGIN):
            yield f"a patient moves the sum by {joint_norm(moved) / max_norm:.3f} C"
        factor = min(1.0, max_norm / norm)
        off = {name: moved[name] - factor * value for name, value in gradient.items()}
        if joint_norm(off) > OFF * factor * norm:
            share = joint_norm(off) / (factor * norm)
            yield f"a patient's gradient is off by {share:.3f} where it is {norm / max_norm:.1f} C"


def _built(make: MakeLayers, chosen: int | None = None) -> nn.Sequential:
    """Build the network; the gradient of layer ``chosen`` is ``GAIN`` times the others'.

    A layer that is linear in its tensors computes the same with tensors divided by a factor
    and its output multiplied by it, and its gradient grows by the factor. A PReLU is not:
    for one of them all the others shrink, and other PReLUs are frozen.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = make()
    parts: dict[str, nn.Module] = {}
    for index, layer in enumerate(layers):
        parts[str(index)] = layer
        if chosen is not None and index != chosen and _both_prelu(layer, layers[chosen]):
            layer.requires_grad_(False)
        factor = _factor(layers, index, chosen)
        if factor != 1:
            for tensor in layer.parameters():
                tensor.data /= factor
            parts[f"{index}_times"] = Times(factor)
    return nn.Sequential(OrderedDict(parts))


def _both_prelu(*layers: nn.Module) -> bool:
    return all(isinstance(layer, nn.PReLU) for layer in layers)


def _factor(layers: list[nn.Module], index: int, chosen: int | None) -> float:
    layer = layers[index]
    if chosen is None or isinstance(layer, nn.PReLU) or not list(layer.parameters()):
        return 1.0
    if isinstance(layers[chosen], nn.PReLU):
        return 1 / GAIN
    return GAIN if index == chosen else 1.0


def _patients(size: tuple[int, ...]) -> list[Record]:
    """Return three patients and, last, the canary: nearly the same image ``IMAGES`` times."""
    rng = np.random.default_rng(2)
    counts = (1, 2, 1)
    images = [rng.standard_normal((count, 1, *size)) for count in counts]
    images.append(
        rng.standard_normal((1, 1, *size)) + 1e-2 * rng.standard_normal((IMAGES, 1, *size))
    )
    return [
        PatientImages(f"p{index}", value.astype(np.float32), index % 2)
        for index, value in enumerate(images)
    ]
