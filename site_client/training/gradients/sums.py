"""What gradients are summed into, and which patients go through a network together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from site_client.training.source import Record

Tensors = dict[str, torch.Tensor]

CHUNK_IMAGES = 64  # at most so many images go through the network at a time
CHUNK_PIXELS = 2**22  # and so many pixels or voxels


@dataclass(frozen=True, slots=True)
class GradientSum:
    """A sum over patients; not private before noise is added."""

    total: Tensors  # one tensor per trained parameter, in the module's order
    skipped: int  # patients left out because a gradient was not finite


def trained_tensors(module: nn.Module) -> Tensors:
    """Return the trained parameters by name, sharing memory, without their history."""
    named = module.named_parameters()
    return {name: tensor.detach() for name, tensor in named if tensor.requires_grad}


def chunks(patients: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the patients by number of images, then key, as many as fit in memory at a time.

    A patient is never split.
    """
    chunk: list[Record] = []
    images = pixels = 0
    for record in sorted(patients, key=lambda record: (len(record.images), record.key)):
        more = record.images[:, 0].size
        full = images + len(record.images) > CHUNK_IMAGES or pixels + more > CHUNK_PIXELS
        if chunk and full:
            yield chunk
            chunk, images, pixels = [], 0, 0
        chunk.append(record)
        images, pixels = images + len(record.images), pixels + more
    if chunk:
        yield chunk
