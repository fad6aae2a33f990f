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


class Separable(nn.Module):
    """Fixed 2D filters, each a sum of products of a column and a row filter.

    (N, 1, H, W) to (N, F, H, W); the border pixel goes on outside the image.

    Args:
        columns: Filters along a column, (F, R, k): R products for each of F filters, k odd.
        rows: Filters along a row, of the same shape.
    """

    def __init__(self, columns: torch.Tensor, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("columns", columns.float())
        self.register_buffer("rows", rows.float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Correlate every image with every filter, as two products with band matrices."""
        buffers = dict(self.named_buffers())
        columns, rows = buffers["columns"], buffers["rows"]
        (filters, terms, taps), (height, width) = rows.shape, images.shape[-2:]
        padded = functional.pad(images, (taps // 2,) * 4, mode="replicate")[:, 0]
        along = padded @ band(rows, width).flatten(0, 2).T
        along = along.reshape(*padded.shape[:2], filters, terms, width)
        along = along.permute(2, 3, 1, 0, 4).reshape(filters, terms * padded.shape[1], -1)
        down = band(columns, height).transpose(1, 2).reshape(filters, height, -1)
        return (down @ along).reshape(filters, height, -1, width).permute(2, 0, 1, 3)


class FilterBank(nn.Module):
    """Fixed responses: both signs of each Laplacian, then each Gabor modulus.

    (N, 1, H, W) to (N, C, H, W). Every image is first brought to mean 0 and deviation 1 by
    itself, so gain and offset of a scanner change nothing. With ``mean`` and ``deviation``
    in ``bank`` the responses are standardised; without, they are raw.
    """

    def __init__(self, bank: dict[str, Any]) -> None:
        super().__init__()
        orientations = bank["gabor_orientations"]
        self.blobs = nn.ModuleList(laplacian_of_gaussian(s) for s in bank["log_sigmas_px"])
        self.waves = nn.ModuleList(
            gabor_pairs(wavelength, orientations) for wavelength in bank["gabor_wavelengths_px"]
        )
        self.channels = 2 * len(self.blobs) + orientations * len(self.waves)
        mean = torch.tensor(bank.get("mean", [0.0] * self.channels))
        deviation = torch.tensor(bank.get("deviation", [1.0] * self.channels))
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1))
        self.register_buffer("deviation", deviation.reshape(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the standardised responses to ``images``."""
        scaled = standardised(images)
        blobs = [blob(scaled) for blob in self.blobs]
        signs = [half for blob in blobs for half in (blob.clamp(min=0), (-blob).clamp(min=0))]
        moduli = [modulus(wave(scaled)) for wave in self.waves]
        responses = torch.cat([*signs, *moduli], dim=1)
        buffers = dict(self.named_buffers(recurse=False))
        return (responses - buffers["mean"]) / buffers["deviation"]


class Shrunken(nn.Module):
    """A stem whose maps are averaged over squares of ``shrink`` pixels."""

    def __init__(self, stem: FilterBank | PixelContext, shrink: int) -> None:
        super().__init__()
        self.full = stem
        self.shrink = shrink
        self.channels = stem.channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the averaged maps of ``images``."""
        return functional.avg_pool2d(self.full(images), self.shrink)

    def extra_repr(self) -> str:
        """Show the shrinkage where the network is printed."""
        return f"shrink={self.shrink}"


class PixelContext(nn.Module):
    """What the pixel network sees: bank, image, mirror image, blurred context, place.

    (N, 1, H, W) to (N, C, H, W). The mirror image (left-right) lets one lung show where the
    other should be; the coordinates run from -1 to 1.
    """

    def __init__(self, bank: FilterBank, size: Sequence[int]) -> None:
        super().__init__()
        self.bank = bank
        rows, columns = size
        self.blurs = nn.ModuleList(gaussian(share * rows) for share in CONTEXT_SHARES)
        down, across = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
        y, x = torch.meshgrid(down, across, indexing="ij")
        self.register_buffer("place", torch.stack([x, y, x * x, y * y, x.abs() * y])[None])
        self.channels = bank.channels + 2 + 2 * len(CONTEXT_SHARES) + 5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return everything the pixel network sees of ``images``."""
        scaled = standardised(images)
        mirrored = scaled.flip(-1)
        blurs = [blurred for blur in self.blurs for blurred in (blur(scaled), blur(mirrored))]
        place = dict(self.named_buffers(recurse=False))["place"].expand(images.shape[0], -1, -1, -1)
        return torch.cat([self.bank(images), scaled, mirrored, *blurs, place], dim=1)


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


def pixel_head(channels: int, width: int, *, enlarge: int) -> nn.Module:
    """Return the trained part of the pixel network: features to (N, 2, H, W) logits.

    The logits are ``enlarge`` times as high and wide as the features, linear between.
    """
    return nn.Sequential(
        nn.Conv2d(channels, width, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 1, 1),
        nn.Upsample(scale_factor=enlarge, mode="bilinear") if enlarge > 1 else nn.Identity(),
        AgainstZero(),
    )


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Bring every image to mean 0 and deviation 1 by itself; an even image becomes 0."""
    axes = tuple(range(1, images.ndim))
    mean = images.mean(axes, keepdim=True)
    deviation = images.std(axes, keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=1e-6)


def band(filters: torch.Tensor, size: int) -> torch.Tensor:
    """Return matrices that correlate: (..., k) to (..., size, size + k - 1), each row one on."""
    taps = filters.shape[-1]
    skewed = filters.new_zeros(*filters.shape[:-1], size, size + taps)
    skewed[..., :taps] = filters[..., None, :]
    used = size * (size + taps - 1)
    return skewed.flatten(-2)[..., :used].reshape(*filters.shape[:-1], size, size + taps - 1)


def modulus(pairs: torch.Tensor) -> torch.Tensor:
    """Return the length of (real, imaginary): (N, 2 F, H, W) to (N, F, H, W)."""
    real, imaginary = pairs.chunk(2, dim=1)
    return (real.square() + imaginary.square()).sqrt()


def gaussian(sigma_px: float) -> Separable:
    """Return a blur of sum 1, cut at three deviations."""
    bell, _ = _bell(sigma_px)
    return Separable(bell[None, None], bell[None, None])


def laplacian_of_gaussian(sigma_px: float) -> Separable:
    """Return the scale-normalised, sign-flipped Laplacian of Gaussian [1], of sum 0.

    A bright blob of radius sqrt(2) sigma gives the largest positive response.
    """
    bell, x = _bell(sigma_px)
    bend = bell * (1 - (x / sigma_px) ** 2)  # minus sigma² times the second derivative
    excess = 2 * bend.sum()  # what cutting and sampling leave
    rows = torch.stack([bend, bell, -excess * bell])
    return Separable(torch.stack([bell, bend, bell])[None], rows[None])


def gabor_pairs(wavelength_px: float, orientations: int) -> Separable:
    """Return Gabor filters of sum 0 [2]: the real part of every orientation, then imaginary.

    The envelope is a Gaussian whose deviation is half the wavelength.
    """
    bell, x = _bell(wavelength_px / 2)
    columns, rows = [], []
    for part in (0.0, -math.pi / 2):  # cosine, sine
        for index in range(orientations):
            angle = math.pi * index / orientations
            across = 2 * math.pi * math.cos(angle) / wavelength_px
            down = 2 * math.pi * math.sin(angle) / wavelength_px
            # cos(a + b) = cos a cos b - sin a sin b, shifted by ``part``
            column = torch.stack([torch.cos(down * x), -torch.sin(down * x)]) * bell
            row = torch.stack([torch.cos(across * x + part), torch.sin(across * x + part)]) * bell
            excess = (column.sum(1) * row.sum(1)).sum()
            columns.append(torch.cat([column, bell[None]]))
            rows.append(torch.cat([row, -excess * bell[None]]))
    return Separable(torch.stack(columns), torch.stack(rows))


def _bell(sigma_px: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a Gaussian of sum 1 at every pixel within three deviations, and the places."""
    reach = math.ceil(3 * sigma_px)
    x = torch.arange(-reach, reach + 1, dtype=torch.float64)
    bell = torch.exp(-(x**2) / (2 * sigma_px**2))
    return bell / bell.sum(), x
