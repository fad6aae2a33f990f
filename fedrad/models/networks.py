"""Build the network that a task names, with starting weights that its seed fixes.

Every network is a settings class: its fields are what ``[model] parameters`` may hold.
DenseNet121, ResNet18 and U-Net come from MONAI with GroupNorm in place of every BatchNorm
(U-Net with InstanceNorm unless ``norm = "group"``), so published BatchNorm weights do not
fit; the two filter-bank networks are fedrad's own. Classification networks return
(N, 2) logits, segmentation networks (N, 2, [D,] H, W). How they are trained belongs to
``site_client.training``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import nn

from fedrad import settings
from fedrad.constants import read_constants
from fedrad.errors import ModelError, SettingsError
from fedrad.models import filter_bank
from fedrad.models.freezing import freeze
from fedrad.models.layers import refuse_batch_coupling, replace_batch_norm
from fedrad.task import Task

CLASSES = 2


class Network(Protocol):
    """The settings of one network, and how to make it."""

    kind: ClassVar[str]
    dimensions: ClassVar[tuple[int, ...]]
    last: ClassVar[str]  # dotted name of the part that answers the task
    seen: ClassVar[str]  # the last one whose maps still have a place; empty: a segmentation's

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights from the global random state."""


def build(task: Task, *, seed: int) -> nn.Module:
    """Return the network of ``task`` in float32 on the CPU, in training mode.

    What ``model.trained`` leaves out needs no gradient. The global random state is as
    before afterwards.

    Args:
        task: Names the network, its parameters and the size of an image.
        seed: Fixes every starting weight; 0 to 2**63 - 1.

    Raises:
        SettingsError: The name or a parameter is unknown or out of range.
        ModelError: The network does not fit the task's kind, dimensions or size.
    """
    network = _network(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network.make(task)
    refuse_batch_coupling(module)
    return freeze(module, task.model.trained, last=network.last)


def last_part(task: Task) -> str:
    """Return the dotted name of the part of the task's network that answers the task."""
    return _network(task).last


def seen_part(task: Task) -> str:
    """Return the dotted name of the last part whose maps have a place in the image.

    Empty for a segmentation, whose answer is a map itself.
    """
    return _network(task).seen


def known_networks() -> tuple[str, ...]:
    """Return the names that ``[model] name`` may have."""
    return tuple(NETWORKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseNet121:
    """DenseNet121 of MONAI with GroupNorm; 2D or 3D classification."""

    kind: ClassVar[str] = "classification"
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    last: ClassVar[str] = "class_layers.out"
    seen: ClassVar[str] = "class_layers.relu"
    init_features: int = 64
    growth_rate: int = 32
    block_config: tuple[int, ...] = (6, 12, 24, 16)
    groups: int = 8

    def __post_init__(self) -> None:
        settings.refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        sizes = (self.init_features, self.growth_rate, self.groups, *self.block_config)
        if min(sizes) < 1 or not self.block_config:
            yield f"densenet121 needs whole numbers of 1 or more, got {sizes}"

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights."""
        from monai.networks.nets import DenseNet

        module = DenseNet(
            spatial_dims=task.data.dimensions,
            in_channels=1,
            out_channels=CLASSES,
            init_features=self.init_features,
            growth_rate=self.growth_rate,
            block_config=self.block_config,
        )
        return replace_batch_norm(module, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet18:
    """ResNet18 of MONAI with GroupNorm, first stride 2; 2D or 3D classification."""

    kind: ClassVar[str] = "classification"
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    last: ClassVar[str] = "fc"
    seen: ClassVar[str] = "layer4"
    widen_factor: float = 1.0
    groups: int = 8

    def __post_init__(self) -> None:
        settings.refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.widen_factor * 64 < 1 or self.groups < 1:
            yield (
                f"resnet18 needs widen_factor of 1/64 or more and groups of 1 or more, "
                f"got {self.widen_factor} and {self.groups}"
            )

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights."""
        from monai.networks.nets import resnet18

        module = resnet18(
            spatial_dims=task.data.dimensions,
            n_input_channels=1,
            num_classes=CLASSES,
            conv1_t_stride=2,
            widen_factor=self.widen_factor,
        )
        return replace_batch_norm(module, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet:
    """U-Net of MONAI, each level at half the size of the one above; 2D or 3D segmentation."""

    kind: ClassVar[str] = "segmentation"
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    last: ClassVar[str] = "model.2"  # the highest level on the way up
    seen: ClassVar[str] = ""
    channels: tuple[int, ...] = (16, 32, 64, 128)
    residual_units: int = 1
    norm: Literal["instance", "group"] = "instance"
    groups: int = 8

    def __post_init__(self) -> None:
        settings.refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if len(self.channels) < 2 or min(self.channels) < 1:
            yield f"channels needs two levels or more of 1 or more, got {list(self.channels)}"
        if self.residual_units < 0 or self.groups < 1:
            yield f"residual_units, groups: got {self.residual_units} and {self.groups}"

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights."""
        from monai.networks.nets import UNet as MonaiUNet

        self._refuse_odd_size(task)
        module = MonaiUNet(
            spatial_dims=task.data.dimensions,
            in_channels=1,
            out_channels=CLASSES,
            channels=self.channels,
            strides=(2,) * (len(self.channels) - 1),
            num_res_units=self.residual_units,
            norm=("instance", {"affine": True}) if self.norm == "instance" else "batch",
        )
        return replace_batch_norm(module, self.groups)

    def _refuse_odd_size(self, task: Task) -> None:
        step = 2 ** (len(self.channels) - 1)
        if any(edge % step for edge in task.recipe.size):
            raise ModelError(
                f"a U-Net of {len(self.channels)} levels needs edges divisible by {step}, "
                f"recipe.size is {list(task.recipe.size)}; change the size or use fewer levels"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBankCnn:
    """A convolution on fixed filters, about 2,400 parameters; 2D classification."""

    kind: ClassVar[str] = "classification"
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    last: ClassVar[str] = "head.4"
    seen: ClassVar[str] = "head.2"
    bank: str = "filter-bank-1"  # a named constants file of fedrad.constants
    shrink: int = 4  # stem maps are averaged over squares of this many pixels
    width: int = 16
    pool: Literal["top", "grid"] = "top"
    top: int = 4
    cells: int = 4

    def __post_init__(self) -> None:
        settings.refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if min(self.shrink, self.top, self.cells) < 1:
            yield f"shrink, top, cells must be 1 or more: {self.shrink}, {self.top}, {self.cells}"
        if self.width < 4 or self.width % 4:
            yield f"width must be a multiple of 4 (the groups of its norm), got {self.width}"

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights."""
        cells = [edge // self.shrink for edge in task.recipe.size]
        if cells[0] * cells[1] < self.top:
            raise ModelError(f"shrink {self.shrink} leaves {cells} of {list(task.recipe.size)}")
        bank = filter_bank.FilterBank(read_constants(self.bank)["values"])
        stem = filter_bank.Shrunken(bank, self.shrink)
        pooling = filter_bank.Pooling(kind=self.pool, top=self.top, cells=self.cells)
        head = filter_bank.classifier_head(stem.channels, self.width, pooling=pooling)
        return filter_bank.Stemmed(stem, head)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBankPixel:
    """A pixel classifier on fixed filters and context, about 2,800 parameters; 2D segmentation."""

    kind: ClassVar[str] = "segmentation"
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    last: ClassVar[str] = "head.4"
    seen: ClassVar[str] = ""
    bank: str = "filter-bank-1"  # a named constants file of fedrad.constants
    shrink: int = 2  # stem maps are averaged over squares of this many pixels
    width: int = 16

    def __post_init__(self) -> None:
        settings.refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.width < 1 or self.shrink < 1:
            yield f"width and shrink must be 1 or more, got {self.width} and {self.shrink}"

    def make(self, task: Task) -> nn.Module:
        """Return the network with fresh weights."""
        bank = filter_bank.FilterBank(read_constants(self.bank)["values"])
        if any(edge % self.shrink for edge in task.recipe.size):
            raise ModelError(
                f"recipe.size {list(task.recipe.size)} is no multiple of {self.shrink}"
            )
        context = filter_bank.PixelContext(bank, task.recipe.size)
        stem = filter_bank.Shrunken(context, self.shrink)
        head = filter_bank.pixel_head(stem.channels, self.width, enlarge=self.shrink)
        return filter_bank.Stemmed(stem, head)


NETWORKS: dict[str, type[Network]] = {
    "densenet121": DenseNet121,
    "resnet18": ResNet18,
    "unet": UNet,
    "filter_bank_cnn": FilterBankCnn,
    "filter_bank_pixel": FilterBankPixel,
}


def _network(task: Task) -> Network:
    name, kind = task.model.name, task.task.kind
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(NETWORKS)}"
        raise SettingsError("model", (f"model.name {name!r} is not known; {hint}",))
    network = NETWORKS[name]
    if kind not in (network.kind, "evaluate"):
        fitting = ", ".join(other for other, entry in NETWORKS.items() if entry.kind == kind)
        raise ModelError(f"{name} is for {network.kind}, the task is {kind}; use {fitting}")
    if task.data.dimensions not in network.dimensions:
        raise ModelError(f"{name} reads 2D images, the task's are 3D; use unet or resnet18")
    return settings.build(network, task.model.parameters, "model.parameters")
