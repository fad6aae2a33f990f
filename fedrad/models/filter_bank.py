"""Small networks on fixed filters: what trains under privacy with a few hundred patients.

The first layer is a bank of Laplacians of Gaussian and Gabor moduli [1, 2] whose responses
are standardised by public constants (``fedrad.constants``). It has buffers only, so it
never travels and its output can be computed once per image: a network is
``head(stem(images))`` and training may feed stored stem features to ``head``. The trained
part has about 2,500 parameters. Lengths are pixels; images are (N, 1, H, W) float32.

References:
    [1] Lindeberg, Feature detection with automatic scale selection, IJCV 30, 1998, sec. 4.
    [2] Jain and Farrokhnia, Unsupervised texture segmentation using Gabor filters, Pattern
        Recognition 24, 1991, sec. 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from fedrad.models.layers import AgainstZero, Grid, TopAndMean

CONTEXT_SHARES = (1 / 16, 1 / 8)  # blur of the pixel network's context, as share of the height


class Stemmed(nn.Module):
    """A network whose first part has no trained parameter: ``head(stem(images))``."""

    def __init__(self, stem: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``images``."""
        logits: torch.Tensor = self.head(self.stem(images))
        return logits


class FilterBank(nn.Module):
    """Fixed responses: both signs of each Laplacian, then each Gabor modulus.

    (N, 1, H, W) to (N, C, H, W). Every image is first brought to mean 0 and deviation 1 by
    itself, so gain and offset of a scanner change nothing. With ``mean`` and ``deviation``
    the responses are standardised; without, they are raw.
    """

    def __init__(self, bank: dict[str, Any]) -> None:
        super().__init__()
        for index, sigma in enumerate(bank["log_sigmas_px"]):
            self.register_buffer(f"log_{index}", laplacian_of_gaussian(sigma)[None, None])
        for index, wavelength in enumerate(bank["gabor_wavelengths_px"]):
            pairs = gabor_pairs(wavelength, bank["gabor_orientations"])
            self.register_buffer(f"gabor_{index}", pairs[:, None])
        signs = 2 * len(bank["log_sigmas_px"])
        moduli = len(bank["gabor_wavelengths_px"]) * bank["gabor_orientations"]
        self.channels = signs + moduli
        shape = (1, self.channels, 1, 1)
        mean = bank.get("mean", [0.0] * self.channels)
        deviation = bank.get("deviation", [1.0] * self.channels)
        self.register_buffer("mean", torch.tensor(mean).reshape(shape))
        self.register_buffer("deviation", torch.tensor(deviation).reshape(shape))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the standardised responses to ``images``."""
        scaled = standardised(images)
        kernels = dict(self.named_buffers())
        maps = [self._signs(scaled, kernels[k]) for k in kernels if k.startswith("log_")]
        maps += [self._moduli(scaled, kernels[k]) for k in kernels if k.startswith("gabor_")]
        return (torch.cat(maps, dim=1) - kernels["mean"]) / kernels["deviation"]

    @staticmethod
    def _signs(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        response = filtered(images, kernel)
        return torch.cat([response.clamp(min=0), (-response).clamp(min=0)], dim=1)

    @staticmethod
    def _moduli(images: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        real, imaginary = filtered(images, pairs).chunk(2, dim=1)
        return (real.square() + imaginary.square()).sqrt()


class ShrunkenBank(nn.Module):
    """A filter bank whose maps are averaged over squares of ``shrink`` pixels."""

    def __init__(self, bank: FilterBank, shrink: int) -> None:
        super().__init__()
        self.bank = bank
        self.shrink = shrink
        self.channels = bank.channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the averaged responses to ``images``."""
        return functional.avg_pool2d(self.bank(images), self.shrink)


class PixelContext(nn.Module):
    """What the pixel network sees: bank, image, mirror image, blurred context, place.

    (N, 1, H, W) to (N, C, H, W). The mirror image (left-right) lets one lung show where the
    other should be; the coordinates run from -1 to 1.
    """

    def __init__(self, bank: FilterBank, size: Sequence[int]) -> None:
        super().__init__()
        self.bank = bank
        rows, columns = size
        for index, share in enumerate(CONTEXT_SHARES):
            self.register_buffer(f"blur_{index}", gaussian(share * rows)[None, None])
        down, across = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
        y, x = torch.meshgrid(down, across, indexing="ij")
        self.register_buffer("place", torch.stack([x, y, x * x, y * y, x.abs() * y])[None])
        self.channels = bank.channels + 2 + 2 * len(CONTEXT_SHARES) + 5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return everything the pixel network sees of ``images``."""
        scaled = standardised(images)
        pair = torch.cat([scaled, scaled.flip(-1)], dim=1)
        buffers = dict(self.named_buffers(recurse=False))
        blurs = [blurred(pair, kernel) for name, kernel in buffers.items() if "blur" in name]
        place = buffers["place"].expand(len(images), -1, -1, -1)
        return torch.cat([self.bank(images), pair, *blurs, place], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """How the CNN's maps become numbers: ``"top"`` finds something small, ``"grid"`` its place."""

    kind: Literal["top", "grid"]
    top: int  # largest values averaged by "top"
    cells: int  # cells along one edge of "grid"

    def make(self, width: int) -> tuple[nn.Module, int]:
        """Return the layer for ``width`` maps and how many numbers it gives."""
        if self.kind == "top":
            return TopAndMean(self.top), 2 * width
        return Grid(self.cells), width * self.cells * self.cells


def classifier_head(channels: int, width: int, *, pooling: Pooling) -> nn.Module:
    """Return the trained part of the filter-bank CNN: stem features to (N, 2) logits."""
    pool, features = pooling.make(width)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.GroupNorm(4, width),
        nn.ReLU(),
        pool,
        nn.Linear(features, 1),
        AgainstZero(),
    )


def pixel_head(channels: int, width: int) -> nn.Module:
    """Return the trained part of the pixel network: features to (N, 2, H, W) logits."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 1, 1),
        AgainstZero(),
    )


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Bring every image to mean 0 and deviation 1 by itself; an even image becomes 0."""
    axes = tuple(range(1, images.ndim))
    mean = images.mean(axes, keepdim=True)
    deviation = images.std(axes, keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=1e-6)


def filtered(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Correlate (N, 1, H, W) with (F, 1, k, k); the border pixel goes on outside the image."""
    margin = kernels.shape[-1] // 2
    padded = functional.pad(images, (margin,) * 4, mode="replicate")
    return functional.conv2d(padded, kernels)


def blurred(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Correlate every channel of (N, C, H, W) with one (1, 1, k, k) kernel."""
    count, channels = images.shape[:2]
    single = filtered(images.flatten(0, 1)[:, None], kernel)
    return single.reshape(count, channels, *images.shape[2:])


def gaussian(sigma_px: float) -> torch.Tensor:
    """Return a (k, k) Gaussian of sum 1, cut at three deviations."""
    y, x = _grid(sigma_px)
    bell = torch.exp(-(x * x + y * y) / (2 * sigma_px**2))
    return (bell / bell.sum()).float()


def laplacian_of_gaussian(sigma_px: float) -> torch.Tensor:
    """Return a (k, k) scale-normalised, sign-flipped Laplacian of Gaussian of sum 0 [1].

    A bright blob of radius sqrt(2) sigma gives the largest positive response.
    """
    y, x = _grid(sigma_px)
    r = (x * x + y * y) / sigma_px**2
    kernel = (2 - r) * torch.exp(-r / 2) / (2 * math.pi * sigma_px**2)
    return (kernel - kernel.mean()).float()


def gabor_pairs(wavelength_px: float, orientations: int) -> torch.Tensor:
    """Return (2 * orientations, k, k) Gabor filters of sum 0 [2]: real parts, then imaginary.

    The envelope's deviation is half the wavelength.
    """
    sigma = wavelength_px / 2
    y, x = _grid(sigma)
    bell = torch.exp(-(x * x + y * y) / (2 * sigma**2))
    bell = bell / bell.sum()
    waves = [_wave(x, y, math.pi * i / orientations, wavelength_px) for i in range(orientations)]
    kernels = [bell * torch.cos(wave) for wave in waves] + [
        bell * torch.sin(wave) for wave in waves
    ]
    return torch.stack([kernel - kernel.sum() * bell for kernel in kernels]).float()


def _wave(x: torch.Tensor, y: torch.Tensor, angle: float, wavelength_px: float) -> torch.Tensor:
    return 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength_px


def _grid(sigma_px: float) -> tuple[torch.Tensor, torch.Tensor]:
    reach = math.ceil(3 * sigma_px)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return y, x
