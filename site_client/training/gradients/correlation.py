"""Take the weight gradients of convolutions, whole or for each group of rows.

The weight gradient of a convolution is a correlation of its input with the gradient of its
output. That of a transposed convolution is the same correlation with the two exchanged, so
one description serves both. Signals are (N, C, [D,] H, W) float32.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from site_client.training.gradients.grouping import Block

# Above this many weights, or below this many output channels, one kernel call per group is
# faster on CPU than one grouped call (benchmarks/gradients.py --layers).
GROUPED_WEIGHTS = 2**16
GROUPED_CHANNELS = 8
RELATIVE_ROUNDING = 2.0**-20  # of a norm from Gram matrices, at most
LARGEST_SIGNAL = 1e18
SMALLEST_SIGNAL = 1e-37  # normal in float32: nothing is divided by less


@dataclass(frozen=True, slots=True)
class Geometry:
    """What fixes a correlation besides its two signals."""

    shape: tuple[int, ...]  # of the weight: (O, I / groups, …); (O, I) of a linear layer
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def pointwise(self) -> bool:
        """Whether every output position reads one input position: a plain matrix product."""
        small = all(edge == 1 for edge in self.shape[2:])
        still = max(self.stride) == 1 and not any(self.padding)
        return small and still and self.groups == 1

    @property
    def weights(self) -> int:
        """Number of elements of the weight."""
        return torch.Size(self.shape).numel()


def whole(geometry: Geometry, given: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Return the weight gradient summed over all rows.

    Args:
        geometry: Of the convolution that maps ``given`` to the shape of ``back``.
        given: Its input, (N, I, …).
        back: Gradient of its output, (N, O, …).
    """
    if len(geometry.shape) == 2:
        product: torch.Tensor = torch.tensordot(back, given, ([0, 2], [0, 2]))
        return product
    weight = given.new_empty(geometry.shape)  # only its shape is read
    gradients = torch.ops.aten.convolution_backward(
        back,
        given,
        weight,
        None,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        False,
        [0] * len(geometry.stride),
        geometry.groups,
        [False, True, False],
    )
    gradient: torch.Tensor = gradients[1]
    return gradient


def by_group(
    geometry: Geometry, given: torch.Tensor, back: torch.Tensor, block: Block
) -> torch.Tensor:
    """Return one weight gradient for each group of a block, (groups, O, I / groups, …).

    A pointwise one is a matrix product per group. In three dimensions, and for small weights
    in two, the groups become the groups of one convolution; otherwise the kernel runs once
    per group.
    """
    given, back = given[block.rows], back[block.rows]
    if geometry.pointwise:
        products = torch.bmm(_columns(back, block), _columns(given, block).transpose(1, 2))
        return products.reshape(block.groups, *geometry.shape)
    volumes = len(geometry.stride) == 3
    small = geometry.weights <= GROUPED_WEIGHTS and geometry.shape[0] >= GROUPED_CHANNELS
    if block.groups > 1 and (volumes or small):
        return _grouped(geometry, given, back, block)
    parts = zip(torch.split(given, block.each), torch.split(back, block.each), strict=True)
    return torch.stack([whole(geometry, one, other) for one, other in parts])


def squared_norms(
    geometry: Geometry, given: torch.Tensor, back: torch.Tensor, block: Block
) -> torch.Tensor:
    """Return the squared norm of each group's weight gradient without forming it, (groups,).

    Two dimensions and one convolution group only, or pointwise. With U the patches of the
    input and B the gradient of the output, both with one column for each output position t of
    the group, the gradient is B Uᵀ, and its squared norm the sum over t, t' of
    (UᵀU)(BᵀB) [1, 2]. It is never too small. Both signals are scaled to a largest value of 1
    first, so that no product is lost for being tiny; and rounding is bounded by the product of
    the two Gram norms, which is added, so that a sum that cancels cannot pass as a small norm.
    A signal above 1e18 counts as infinite: its weighted sum would not be exact.

    Returns:
        (groups,) float64; not finite where a signal is not.

    References:
        [1] Goodfellow, Efficient Per-Example Gradient Computations, 2015.
        [2] Bu, Mao, Xu, Scalable and Efficient Training of Large Convolutional Neural
            Networks with Differential Privacy, NeurIPS 2022, sec. 3.
    """
    given, input_size = _scaled(given[block.rows], block)
    back, back_size = _scaled(back[block.rows], block)
    ours, theirs = _patch_gram(geometry, given, block), _gram(_columns(back, block))
    bound = torch.linalg.vector_norm(ours, dim=1) * torch.linalg.vector_norm(theirs, dim=1)
    exact = (ours * theirs).sum(1)
    upper = exact.clamp(min=0) + RELATIVE_ROUNDING * bound
    sizes: torch.Tensor = upper.double() * (input_size * back_size).square()
    too_large = torch.maximum(input_size, back_size) > LARGEST_SIGNAL
    return sizes.masked_fill(too_large, torch.inf)


def _scaled(rows: torch.Tensor, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows with a largest value of 1 in every group, and what they were divided by."""
    largest = rows.reshape(block.groups, -1).abs().amax(1).clamp(min=SMALLEST_SIGNAL)
    each = largest.repeat_interleave(block.each)
    return rows / each.reshape(-1, *[1] * (rows.ndim - 1)), largest.double()


def _patch_gram(geometry: Geometry, given: torch.Tensor, block: Block) -> torch.Tensor:
    """Return the Gram matrix of every group's patches, (groups, T * T).

    Patches overlap, so the products of single padded positions are taken once, where those
    are fewer, and summed over the kernel's offsets.
    """
    if geometry.pointwise:
        return _gram(_columns(given, block))
    across, down = geometry.padding[1], geometry.padding[0]
    height, width = given.shape[2] + 2 * down, given.shape[3] + 2 * across
    places = _places(geometry, height, width).to(given.device)
    if block.each > 1 or (height * width) ** 2 > places.numel() * places.shape[1]:
        patches = functional.unfold(
            given, geometry.shape[2:], geometry.dilation, geometry.padding, geometry.stride
        )
        return _gram(_columns(patches, block))
    padded = functional.pad(given, (across, across, down, down)).flatten(2)
    pairs = places[:, :, None] * (height * width) + places[:, None, :]
    return _gram(padded)[:, pairs.flatten(1)].sum(1)


@functools.lru_cache(maxsize=256)
def _places(geometry: Geometry, height: int, width: int) -> torch.Tensor:
    """Return the padded position that offset k of the kernel reads for output t, (K, T)."""
    places = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    found = functional.unfold(places, geometry.shape[2:], geometry.dilation, 0, geometry.stride)
    return found[0].long()


def _gram(columns: torch.Tensor) -> torch.Tensor:
    """(G, C, T) to the products of all columns, (G, T * T)."""
    return torch.bmm(columns.transpose(1, 2), columns).flatten(1)


def _columns(rows: torch.Tensor, block: Block) -> torch.Tensor:
    """(groups * each, C, …) to (groups, C, each * T)."""
    flat = rows.flatten(2)
    if block.each == 1:
        return flat
    split = flat.reshape(block.groups, block.each, *flat.shape[1:])
    return split.transpose(1, 2).flatten(2)


def _grouped(
    geometry: Geometry, given: torch.Tensor, back: torch.Tensor, block: Block
) -> torch.Tensor:
    """One convolution whose groups are the block's: channels of all groups side by side."""
    size = block.groups
    wide = replace(
        geometry,
        shape=(size * geometry.shape[0], *geometry.shape[1:]),
        groups=size * geometry.groups,
    )
    gradient = whole(wide, _side_by_side(given, block), _side_by_side(back, block))
    return gradient.reshape(size, *geometry.shape)


def _side_by_side(rows: torch.Tensor, block: Block) -> torch.Tensor:
    """(groups * each, C, …) to (each, groups * C, …)."""
    split = rows.reshape(block.groups, block.each, *rows.shape[1:])
    return split.transpose(0, 1).flatten(1, 2)
