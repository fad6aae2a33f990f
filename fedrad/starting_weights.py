"""The model before round 1: from a file that the task names, or fresh from the study's seed.

A file fits a network when it holds every parameter by name and shape and nothing else. The
last part alone may be left out, as a whole, and then comes from the seed: that is how a
network trained for another question starts a study. The contract pins the digests of what
results, so that a site can tell that what reaches it is what was agreed. Provenance is read
in ``provenance``, which parameters move is said by ``models.freezing``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrad.contract import Contract, StartingModel
from fedrad.errors import ContractChangedError, SettingsError
from fedrad.models.networks import build, last_part
from fedrad.parameters import Parameters, digest, frozen, load_whole, whole
from fedrad.provenance import provenance_path
from fedrad.task import Task

if TYPE_CHECKING:
    from torch import nn

    from fedrad.protocol.messages import Request

_MOST_LINES = 5  # of problems in one message
_BATCH_NORM = ("running_mean", "running_var", "num_batches_tracked")


def starting_model(task: Task, *, seed: int, beside: Path) -> nn.Module:
    """Return the task's network with the parameters that the study starts from.

    Args:
        task: Names the network and perhaps a file of starting weights.
        seed: Fixes every parameter that no file gives; 0 to 2**63 - 1.
        beside: The folder that ``model.initial`` is relative to.

    Raises:
        SettingsError: The file is missing, is not the one of the provenance, or does not
            fit the network; names the tensors.
        ModelError: The network does not fit the task.
    """
    module = build(task, seed=seed)
    if task.model.initial:
        path = beside / task.model.initial
        load_whole(module, _fitted(_read(path, task), module, task, path=path))
    return module


def pinned(task: Task, module: nn.Module) -> StartingModel | None:
    """Return what the contract says of the model before round 1; ``None``: from the seed."""
    if not task.model.initial:
        return None
    still = frozen(module)
    return StartingModel(model=digest(whole(module)), frozen=digest(still) if still else "")


def refuse_other_start(
    task: Task, contract: Contract, request: Request, *, model: Parameters, module: nn.Module
) -> None:
    """Refuse a model that is not, or does not keep, the starting weights of the contract.

    The model of round 1 must be the pinned one; in every round the frozen parameters must be.

    Args:
        task: Names starting weights or not.
        contract: Pins them.
        request: Whose round and model digest are compared; the digest was checked before.
        model: What came with it.
        module: The task's network: says which parameters are frozen.

    Raises:
        ContractChangedError: Something differs; says what.
    """
    if not task.model.initial:
        return
    if contract.starting is None:
        raise ContractChangedError("the task names starting weights and the contract pins none")
    first = request.phase == "train" and request.round == 1
    if first and request.model_digest != contract.starting.model:
        raise ContractChangedError("the first model is not made of the agreed starting weights")
    names = [name for name in frozen(module) if name in model]
    still = digest({name: model[name] for name in names}) if names else ""
    if still != contract.starting.frozen:
        raise ContractChangedError("a parameter that was to stay frozen differs from the contract")


def _read(path: Path, task: Task) -> Parameters:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(str(path), (f"cannot be read: {error.strerror}",)) from None
    known = task.model.provenance
    found = hashlib.sha256(content).hexdigest()
    if known is None or known.digest != found:
        line = f"its SHA-256 is {found}; the task names other starting weights by this name"
        raise SettingsError(str(path), (f"{line}, see {provenance_path(path).name}",))
    try:
        return dict(load(content))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(str(path), (f"not safetensors of plain numbers: {error}",)) from None


def _fitted(found: Parameters, module: nn.Module, task: Task, *, path: Path) -> Parameters:
    like, last = whole(module), last_part(task)
    answering = {name for name in like if name.startswith(f"{last}.")}
    needed = like.keys() if answering & found.keys() else like.keys() - answering
    problems = [
        *(
            f"tensor {name!r} of the network is missing"
            for name in like
            if name in needed - found.keys()
        ),
        *(_foreign(name, task) for name in sorted(found.keys() - like.keys())),
        *(line for name in like if name in found for line in _misfit(name, found, like)),
    ]
    if problems:
        more = len(problems) - _MOST_LINES
        tail = [f"and {more} further problems"] if more > 0 else []
        raise SettingsError(str(path), (*problems[:_MOST_LINES], *tail))
    return {name: found.get(name, tensor) for name, tensor in like.items()}


def _foreign(name: str, task: Task) -> str:
    line = f"tensor {name!r} is not one of {task.model.name}'s; take it out of the file"
    if name.endswith(_BATCH_NORM):
        line += " (it belongs to a BatchNorm; train starting weights with GroupNorm)"
    return line


def _misfit(name: str, found: Parameters, like: Parameters) -> Iterator[str]:
    got, wanted = found[name], like[name]
    if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
        yield (
            f"tensor {name!r} is {got.dtype}{list(got.shape)}, "
            f"the network has {wanted.dtype}{list(wanted.shape)}"
        )
    elif not np.isfinite(got).all():
        yield f"tensor {name!r} holds a value that is not finite"
