"""Try a network's gradients on made-up patients before those of real ones are taken.

Rules know layers; what a network does between its layers, they cannot know. So a network is
refused unless, on random weights and images, the sum of clipped gradients is what one
ordinary backward pass per image gives on the CPU, whatever processor trains, and unless an
image's loss stays the same whatever image is beside it, under random weights and under those
received. That finds weights used past their layer, and layers and losses that couple records
as a matter of course; it is no proof against installed code that was written to couple them on
rare inputs only. Patients' data is not looked at, only its shape.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.layers import refuse_batch_coupling
from site_client.training.gradients.clipped import clipped_sum
from site_client.training.gradients.engine import ruled_layers
from site_client.training.gradients.sums import Tensors, trained_tensors
from site_client.training.losses import Loss
from site_client.training.source import (
    CPU,
    PatientImages,
    Record,
    place_of,
    stack_images,
    stack_truth,
)

TOLERANCE = 1e-2  # of a tensor's gradient
FLOOR = 1e-3  # of the clip bound: what rounding leaves of a gradient that should be zero
SEED = 20_260_101
WAY_OUT = "use networks and losses that treat every image on its own"


def refuse_unfit(module: nn.Module, loss: Loss, like: Record) -> None:
    """Refuse a network and loss whose patients' gradients would not be exact.

    The same structure is tried once in a process with random weights, and every time with
    its own.

    Args:
        module: Unchanged.
        loss: One value per image.
        like: A patient whose shapes the made-up ones get.

    Raises:
        ModelError: A layer has no rule or couples records, the loss couples them, or a
            tensor's gradient is not the one that an ordinary backward pass gives.
    """
    refuse_batch_coupling(module)
    ruled = tuple(name for name, _, _ in ruled_layers(module))
    truth = None if like.masks is None else like.masks.shape[1:]
    shapes = (like.images.shape[1:], truth)
    kinds = tuple(type(part) for part in module.modules())
    trained = tuple(trained_tensors(module))
    signature = (repr(module), kinds, ruled, trained, shapes, _identity(loss))
    _try(_Candidate(signature, module, loss, like))
    with torch.random.fork_rng(devices=[]):
        _refuse_coupling(module, [_patient(like, index) for index in (0, 1)], loss)


@dataclass(frozen=True, slots=True)
class _Candidate:
    signature: tuple[object, ...]
    module: nn.Module = field(compare=False)
    loss: Loss = field(compare=False)
    like: Record = field(compare=False)


@functools.lru_cache(maxsize=64)
def _try(candidate: _Candidate) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = _made_up(candidate.module)
        patients = [_patient(candidate.like, index) for index in (0, 1)]
        _refuse_coupling(module, patients, candidate.loss)
        _refuse_other_gradients(module.eval(), patients, candidate.loss)


def _refuse_coupling(module: nn.Module, patients: list[Record], loss: Loss) -> None:
    """Refuse when another image beside the first changes the first one's loss."""
    first, second = patients
    place = place_of(module)
    alone, other = second.images.copy(), second.images.copy()
    other *= -3
    found = []
    for beside in (alone, other):
        pair = [first, PatientImages(second.key, beside, second.label, second.masks)]
        torch.manual_seed(SEED)
        with torch.no_grad():
            found.append(loss(module(stack_images(pair, place)), stack_truth(pair, place)))
    before, after = found
    if before.ndim != 1:
        raise ModelError(
            f"the loss gives values of shape {tuple(before.shape)}; it must give one per image "
            "(reduction 'none', then the mean over each image)"
        )
    if not torch.allclose(before[0], after[0], rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ModelError(
            f"one image's loss changes from {before[0]:.4g} to {after[0]:.4g} with the image "
            f"beside it: {type(module).__name__} or the loss couples records; {WAY_OUT}"
        )


def _refuse_other_gradients(module: nn.Module, patients: list[Record], loss: Loss) -> None:
    expected, bound = _one_by_one(module, patients, loss)
    found = clipped_sum(module, patients, loss, max_norm=bound).total
    for name, tensor in expected.items():
        apart = float(torch.linalg.vector_norm(found[name].to(CPU) - tensor))
        if not apart <= TOLERANCE * float(torch.linalg.vector_norm(tensor)) + FLOOR * bound:
            raise ModelError(
                f"the patients' gradients of {name!r} in {type(module).__name__} are not those of "
                "an ordinary backward pass: the tensor is used outside its layer, or something "
                f"couples records; {WAY_OUT}, or freeze the tensor"
            )


def _one_by_one(module: nn.Module, patients: list[Record], loss: Loss) -> tuple[Tensors, float]:
    """Return the clipped sum by one backward pass per image, and a bound that clips both."""
    plain = copy.deepcopy(module).to(CPU)
    gradients = [_gradient(plain, patient, loss) for patient in patients]
    norms = [math.sqrt(sum(float(t.square().sum()) for t in g.values())) for g in gradients]
    bound = 0.5 * min(norms)
    names = gradients[0]
    total = {
        name: torch.stack([g[name] * bound / n for g, n in zip(gradients, norms, strict=True)])
        for name in names
    }
    return {name: rows.sum(0) for name, rows in total.items()}, bound


def _gradient(module: nn.Module, patient: Record, loss: Loss) -> Tensors:
    weights = {name: t for name, t in module.named_parameters() if t.requires_grad}
    images, truth = stack_images([patient]), stack_truth([patient])
    total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    for image, answer in zip(torch.split(images, 1), torch.split(truth, 1), strict=True):
        value = loss(module(image), answer).sum() / len(images)
        parts = torch.autograd.grad(value, list(weights.values()), materialize_grads=True)
        for name, part in zip(weights, parts, strict=True):
            total[name] += part
    return total


def _made_up(module: nn.Module) -> nn.Module:
    """Return a copy with random weights that keep signals at a middling size."""
    copied = copy.deepcopy(module).train()
    with torch.no_grad():
        for tensor in copied.parameters():
            if tensor.ndim > 1:
                tensor.normal_(std=1 / math.sqrt(tensor[0].numel()))
            else:
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return copied


def _patient(like: Record, index: int) -> Record:
    """One image, or two; random, of the shape and kind of truth of ``like``."""
    rng = np.random.default_rng([SEED, index])
    shape = (index + 1, *like.images.shape[1:])
    images = rng.standard_normal(shape).astype(np.float32)
    if like.masks is None:
        return PatientImages(f"{index}", images, index)
    masks = rng.integers(0, 2, (index + 1, *like.masks.shape[1:]), dtype=np.uint8)
    return PatientImages(f"{index}", images, None, masks)


def _identity(loss: Loss) -> tuple[object, ...]:
    """Return what tells a loss from another: its code and what it encloses, or itself."""
    held = [cell.cell_contents for cell in getattr(loss, "__closure__", None) or ()]
    return (getattr(loss, "__code__", loss), *map(repr, held))
