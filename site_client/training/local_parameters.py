"""Refuse tensors of a site's own in a network whose shared parameters are being trained.

Clipping bounds what one patient adds to the sum *given the network*. If a part of the network
was fitted to the site's patients outside the private step (an affine, a normaliser of the
inputs, running statistics), adding a patient changes every other patient's gradient too:
the sum moves by as much as C times the number drawn, and the ledger's numbers are void. So
while shared parameters train, every tensor of the network is one of

- **shared**: it came with the model of this round, from released values alone;
- **constant**: a buffer, or a tensor in a module's attribute, as the task alone makes it, and
  as it still is after the round;
- **private step**: declared, and trained in the same clipped and noised step;
- **released**: declared, computed from values that were noised and charged before, and
  fixed during the round.

What is fitted freely may be used only after the last shared round, outside this check.
Hooks are refused. Numbers that a class keeps in no tensor or array, or inside a list, are
installed code, and so the task's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import nn

from fedrad.errors import PrivacyError
from fedrad.models.networks import build
from fedrad.task import Task, canonical, parse_task

Origin = Literal["private step", "released"]
_NOTHING: Mapping[str, Origin] = {}


@contextmanager
def only_accounted(
    module: nn.Module,
    shared: Collection[str],
    *,
    task: Task,
    declared: Mapping[str, Origin] = _NOTHING,
) -> Iterator[None]:
    """Train inside this block; nothing of the site's own may take part unseen.

    Args:
        module: The network that is about to be trained.
        shared: Names of the parameters that came with the round's model.
        task: Makes the constants to compare with.
        declared: Where each other tensor comes from, by name.

    Raises:
        PrivacyError: A tensor is none of the four kinds, before the block; or one that may
            not move has moved, after it. Names the tensor and the way out.
    """
    refuse_unaccounted(module, shared, constants=_constants(canonical(task)), declared=declared)
    before = _fixed(module)
    yield
    moved = [name for name, digest in _fixed(module).items() if before.get(name) != digest]
    if moved:
        raise PrivacyError(
            f"{moved[0]!r} changed while shared parameters trained, outside the private step; "
            "use layers without running statistics"
        )


def refuse_unaccounted(
    module: nn.Module,
    shared: Collection[str],
    *,
    constants: Mapping[str, str],
    declared: Mapping[str, Origin] = _NOTHING,
) -> None:
    """Refuse a network in which a tensor is of no accounted kind.

    Args:
        module: The network.
        shared: Names of the parameters that came with the round's model.
        constants: Digest of each buffer as the task makes it, by name (``digests``).
        declared: Where each other tensor comes from, by name.

    Raises:
        PrivacyError: As for ``only_accounted``, before the block.
    """
    hooked = next((name for name, part in module.named_modules() if _hooks(part)), None)
    if hooked is not None:
        raise PrivacyError(
            f"{hooked or type(module).__name__!r} has hooks, which could bring in what is this "
            "site's own; remove them before training"
        )
    for name, tensor in _named(module):
        origin = declared.get(name)
        if name in shared or constants.get(name) == _digest(tensor):
            continue
        if origin is None:
            raise PrivacyError(
                f"{name!r} is this site's own: it came neither with the model nor with the task, "
                "and one patient could move it and with it everybody's gradient; train it in the "
                "private step, compute it from released values, or use it after the last round"
            )
        if tensor.requires_grad != (origin == "private step"):
            raise PrivacyError(
                f"{name!r} is declared as {origin!r}; a tensor of the private step needs a "
                "gradient, and one computed from released values must have none"
            )


def digests(module: nn.Module) -> dict[str, str]:
    """Return the digest of every buffer and plain tensor of a network, by name."""
    fixed = (*module.named_buffers(), *_plain(module))
    return {name: _digest(tensor) for name, tensor in fixed}


@lru_cache(maxsize=8)
def _constants(canonical_task: bytes) -> Mapping[str, str]:
    """Return what the task alone makes of its network's buffers; weights do not matter."""
    return digests(build(parse_task(json.loads(canonical_task)), seed=0))


def _fixed(module: nn.Module) -> dict[str, str]:
    return {name: _digest(tensor) for name, tensor in _named(module) if not tensor.requires_grad}


def _named(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
    yield from _plain(module)


def _plain(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield tensors and arrays that lie in attributes of modules, unknown to torch."""
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, (torch.Tensor, np.ndarray)):
                yield f"{path}.{name}".lstrip("."), torch.as_tensor(value)


def _hooks(part: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, kind) for kind in kinds)


def _digest(tensor: torch.Tensor) -> str:
    array = tensor.detach().cpu().contiguous().numpy()
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
