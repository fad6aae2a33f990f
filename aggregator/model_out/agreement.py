"""Does another form of a model say what the original says, on the same images?

The coordinator has no image of a hospital, so the images of this check are drawn: half noise,
half smooth, over the range that the recipe gives. The same comparison on real images is in
docs/results.md. Values are logits; images are (images, 1, [slices,] rows, columns) float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.task import Task

IMAGES = 100
LIMIT = 1e-4  # the largest difference of two logits
_BATCH = 10
_SEED = 20
_COARSE = 8  # cells along an edge, of which a smooth image is made

Floats = npt.NDArray[np.float32]
Logits = npt.NDArray[np.floating]
Predict = Callable[[Floats], Logits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far another form of a model is from the original."""

    form: str  # "MONAI bundle", "ONNX"
    images: int
    largest: float  # difference of two logits
    limit: float = LIMIT


def drawn_images(task: Task, count: int = IMAGES) -> Floats:
    """Return images as the recipe gives them, drawn from a fixed seed.

    Args:
        task: Its size and kind of intensity: z-scores lie around 0, the others in [0, 1].
        count: How many; every other one is smooth.
    """
    rng = np.random.default_rng(_SEED)
    size = task.recipe.size
    noise = rng.random((count, 1, *size), dtype=np.float32)
    coarse = rng.random((count, 1, *(min(_COARSE, edge) for edge in size)), dtype=np.float32)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    smooth = nn.functional.interpolate(torch.from_numpy(coarse), size=tuple(size), mode=mode)
    noise[::2] = smooth.numpy()[::2]
    return noise * 6 - 3 if task.recipe.intensity.kind == "zscore" else noise


def agree(form: str, original: nn.Module, other: Predict, images: Floats) -> Agreement:
    """Compare two forms of one model.

    Args:
        form: What the other one is, for the error.
        original: The task's network with the model's parameters.
        other: Gives the logits of some images.
        images: (images, 1, [slices,] rows, columns).

    Raises:
        ModelError: They differ by more than ``LIMIT``, in shape, or in what is finite.
    """
    largest = 0.0
    was_training = original.training
    original.eval()
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        with torch.no_grad():
            expected = original(torch.from_numpy(batch)).numpy()
        largest = max(largest, _difference(form, expected, np.asarray(other(batch))))
    original.train(was_training)
    if not largest <= LIMIT:
        raise ModelError(
            f"the {form} differs from the original by {largest:.2g} in a logit, more than "
            f"{LIMIT:g}: it is not written; keep {'model.safetensors'}, which is the original"
        )
    return Agreement(form=form, images=len(images), largest=largest)


def _difference(form: str, expected: Logits, got: Logits) -> float:
    if expected.shape != got.shape:
        raise ModelError(f"the {form} gives {got.shape}, the original {expected.shape}")
    if not np.array_equal(np.isfinite(expected), np.isfinite(got)):
        raise ModelError(f"the {form} is finite in other places than the original")
    finite = np.isfinite(expected)
    return float(np.abs(expected - got)[finite].max(initial=0.0))
