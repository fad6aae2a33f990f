"""Take the weight gradients of convolutions, whole or for each group of rows.

The weight gradient of a convolution is a correlation of its input with the gradient of its
output. That of a transposed convolution is the same correlation with the two exchanged, so
one description serves both. Signals are (N, C, [D,] H, W).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from site_client.training.gradients.grouping import Block

# Above this many weights, or below this many output channels, one kernel call per group is
# faster on CPU than one grouped call (benchmarks/gradients.py --layers).
GROUPED_WEIGHTS = 2**16
GROUPED_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """What fixes a correlation besides its two signals."""

    shape: tuple[int, ...]  # of the weight: (O, I / groups, …)
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def weights(self) -> int:
        """Number of elements of the weight."""
        return torch.Size(self.shape).numel()


def whole(geometry: Geometry, given: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Return the weight gradient summed over all rows.

    Args:
        geometry: Of the convolution that maps ``given`` to the shape of ``back``.
        given: Its input, (N, I, …).
        back: Gradient of its output, (N, O, …), dtype of ``given``.
    """
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

    In three dimensions, and for small weights in two, the groups become the groups of one
    convolution; otherwise the kernel runs once per group.
    """
    given, back = given[block.rows], back[block.rows]
    volumes = len(geometry.stride) == 3
    small = geometry.weights <= GROUPED_WEIGHTS and geometry.shape[0] >= GROUPED_CHANNELS
    if block.groups > 1 and (volumes or small) and given.dtype == torch.float32:
        return _grouped(geometry, given, back, block)
    parts = zip(torch.split(given, block.each), torch.split(back, block.each), strict=True)
    return torch.stack([whole(geometry, one, other) for one, other in parts])


def squared_norms(
    geometry: Geometry, given: torch.Tensor, back: torch.Tensor, block: Block
) -> torch.Tensor:
    """Return the squared norm of each group's weight gradient without forming it, (groups,).

    Two dimensions and one convolution group only. With U the patches of the input and B the
    gradient of the output, both with one column for each output position t of the group, the
    gradient is B Uᵀ, and its squared norm the sum over t, t' of (UᵀU)(BᵀB) [1, 2].

    References:
        [1] Goodfellow, Efficient Per-Example Gradient Computations, 2015.
        [2] Bu, Mao, Xu, Scalable and Efficient Training of Large Convolutional Neural
            Networks with Differential Privacy, NeurIPS 2022, sec. 3.
    """
    patches = given[block.rows]
    if any(edge > 1 for edge in geometry.shape[2:]) or max(geometry.stride) > 1:
        patches = functional.unfold(
            patches, geometry.shape[2:], geometry.dilation, geometry.padding, geometry.stride
        )
    return _product_of_grams(_columns(patches, block), _columns(back[block.rows], block))


def product_norms(given: torch.Tensor, back: torch.Tensor, block: Block) -> torch.Tensor:
    """Return the squared norm of each group's back @ givenᵀ, (groups,); (N, C, T) both."""
    return _product_of_grams(_columns(given[block.rows], block), _columns(back[block.rows], block))


def _product_of_grams(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the squared norm of right @ leftᵀ for matrices (G, C, T): never too small.

    Rounding is bounded by the product of the two Gram norms; it is added, so that a sum
    that cancels cannot pass as a small norm. Float32.
    """
    ours = torch.bmm(left.transpose(1, 2), left).flatten(1).float()
    theirs = torch.bmm(right.transpose(1, 2), right).flatten(1).float()
    bound = torch.linalg.vector_norm(ours, dim=1) * torch.linalg.vector_norm(theirs, dim=1)
    exact: torch.Tensor = (ours * theirs).sum(1)
    return exact.clamp(min=0) + 2.0**-20 * bound


def _columns(rows: torch.Tensor, block: Block) -> torch.Tensor:
    """(groups * each, C, …) to (groups, C, each * T)."""
    flat = rows.flatten(2).float()
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
