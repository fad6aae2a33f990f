"""Random changes of training images that leave the truth true, named in the recipe.

One draw per image: left-right flip, shift and small rotation move image and mask together;
contrast and brightness change the image alone. Each image is changed on its own, so nothing
couples two patients. Chance comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import affine_grid, grid_sample

from fedrad.errors import SettingsError

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]
Augment = Callable[[Images, Masks | None, np.random.Generator], tuple[Images, Masks | None]]

KNOWN = ("flip", "shift", "rotate", "intensity")
LARGEST_SHIFT = 0.05  # of an axis's length
LARGEST_TURN_RAD = 0.12  # about 7 degrees, in the plane of rows and columns
LARGEST_GAIN = 0.1  # contrast between 0.9 and 1.1
LARGEST_OFFSET = 0.05  # in units of the network's input


def augmenter(names: Sequence[str]) -> Augment | None:
    """Return the augmentation of a recipe, or ``None`` if it names none.

    Raises:
        SettingsError: A name is not one of ``KNOWN``.
    """
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        line = f"augment does not know {', '.join(unknown)}; known: {', '.join(KNOWN)}"
        raise SettingsError("recipe", (line,))
    if not names:
        return None
    return lambda images, masks, rng: augment(images, masks, names, rng=rng)


def augment(
    images: Images, masks: Masks | None, names: Sequence[str], *, rng: np.random.Generator
) -> tuple[Images, Masks | None]:
    """Change the images of one patient, and their masks with them.

    Args:
        images: float32 (K, 1, [D,] H, W).
        masks: 0 or 1, the shape of ``images``; or ``None``.
        names: Some of ``KNOWN``.
        rng: Where chance comes from.

    Returns:
        New arrays of the same shapes and dtypes; what moves in from outside is 0.
    """
    count, dimensions = images.shape[0], images.ndim - 2
    moves = np.stack([_move(dimensions, names, rng) for _ in range(count)])
    moved = _moved(images, moves, "bilinear") if _moves(names) else images
    truth = masks
    if masks is not None and _moves(names):
        truth = np.asarray(_moved(masks.astype(np.float32), moves, "nearest"), np.uint8)
    if "intensity" in names:
        shape = (count,) + (1,) * (images.ndim - 1)
        gain = 1 + rng.uniform(-LARGEST_GAIN, LARGEST_GAIN, shape)
        offset = rng.uniform(-LARGEST_OFFSET, LARGEST_OFFSET, shape)
        moved = np.asarray(moved * gain + offset, np.float32)
    return moved, truth


def _moves(names: Sequence[str]) -> bool:
    return not {"flip", "shift", "rotate"}.isdisjoint(names)


def _move(dimensions: int, names: Sequence[str], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one affine map in torch's coordinates: x (columns) first, -1 to 1 on each axis."""
    matrix = np.eye(dimensions, dimensions + 1)
    if "rotate" in names:
        angle = rng.uniform(-LARGEST_TURN_RAD, LARGEST_TURN_RAD)
        cosine, sine = np.cos(angle), np.sin(angle)
        matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    if "flip" in names and rng.random() < 0.5:
        matrix[0] = -matrix[0]
    if "shift" in names:
        matrix[:, -1] = 2 * rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, dimensions)
    return matrix


def _moved(images: Images, moves: NDArray[np.float64], mode: str) -> Images:
    grid = affine_grid(
        torch.from_numpy(moves.astype(np.float32)), list(images.shape), align_corners=False
    )
    sampled = grid_sample(torch.from_numpy(images), grid, mode=mode, align_corners=False)
    return np.asarray(sampled.numpy(), np.float32)
