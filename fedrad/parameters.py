"""The parameters of a model as plain arrays: what travels between sites.

A model travels whole, frozen parameters included; an update holds the trained ones only;
buffers never travel. Names and order are those of ``named_parameters``; every dtype
survives the round trip. Which messages carry them belongs to ``protocol``.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fedrad import durable
from fedrad.errors import DamagedStateError, NonFiniteUpdateError, ParametersError

if TYPE_CHECKING:
    from torch import nn

Parameters = dict[str, npt.NDArray[Any]]


def trainable(module: nn.Module) -> Parameters:
    """Copy the trainable tensors of ``module`` out, in its own order."""
    return {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in module.named_parameters()
        if tensor.requires_grad
    }


def whole(module: nn.Module) -> Parameters:
    """Copy every parameter of ``module`` out, frozen ones included, in its own order."""
    return {
        name: tensor.detach().cpu().numpy().copy() for name, tensor in module.named_parameters()
    }


def frozen(module: nn.Module) -> Parameters:
    """Copy out the parameters of ``module`` that no training moves, in its own order."""
    kept = trainable(module)
    return {name: tensor for name, tensor in whole(module).items() if name not in kept}


def load_whole(module: nn.Module, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy ``parameters`` into all parameters of ``module``, frozen ones included.

    Raises:
        ParametersError: Names, shapes or dtypes are not those of the module.
    """
    import torch

    refuse_misfit(parameters, whole(module))
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            tensor.copy_(torch.from_numpy(np.array(parameters[name])))


def load_trainable(module: nn.Module, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy ``parameters`` into the trainable tensors of ``module``.

    Raises:
        ParametersError: Names, shapes or dtypes are not those of the module.
    """
    import torch

    refuse_misfit(parameters, trainable(module))
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if tensor.requires_grad:
                tensor.copy_(torch.from_numpy(np.array(parameters[name])))


def refuse_misfit(
    parameters: Mapping[str, npt.NDArray[Any]], like: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Raise ``ParametersError`` unless names, shapes and dtypes equal those of ``like``."""
    if list(parameters) != list(like):
        odd = sorted(set(parameters) ^ set(like)) or ["their order"]
        raise ParametersError(f"the tensors do not fit the model; they differ in {odd[:5]}")
    for name, tensor in like.items():
        got = parameters[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            raise ParametersError(
                f"tensor {name!r} is {got.dtype}{list(got.shape)}, "
                f"the model has {tensor.dtype}{list(tensor.shape)}"
            )


def refuse_non_finite(parameters: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ``NonFiniteUpdateError`` naming the first tensor with NaN or infinity."""
    for name, tensor in parameters.items():
        if not np.isfinite(tensor).all():
            raise NonFiniteUpdateError(name)


def subtract(
    left: Mapping[str, npt.NDArray[Any]], right: Mapping[str, npt.NDArray[Any]]
) -> Parameters:
    """Return ``left - right`` tensor by tensor, in the dtype of ``left``."""
    return {name: np.asarray(left[name] - right[name]) for name in left}


def without_part(
    whole: Mapping[str, npt.NDArray[Any]], part: Mapping[str, npt.NDArray[Any]], *, share: float
) -> Parameters:
    """Return (w - c v) / (1 - c) with v = ``part`` and c = ``share``, in (0, 1).

    Computed in float64, in the dtype of ``whole``; tensors that the part does not have stay.
    """
    found = dict(whole)
    for name, own in part.items():
        rest = (whole[name].astype(np.float64) - share * own.astype(np.float64)) / (1 - share)
        found[name] = rest.astype(whole[name].dtype)
    return found


def joint_norm(parameters: Mapping[str, npt.NDArray[Any]]) -> float:
    """Return the L2 norm over all tensors together, summed in float64."""
    squares = (float(np.square(t, dtype=np.float64).sum()) for t in parameters.values())
    return math.sqrt(sum(squares))


def digest(parameters: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 over every name, dtype, shape and byte, in the mapping's order."""
    sha = hashlib.sha256()
    for name, tensor in parameters.items():
        sha.update(f"{name}\x1f{tensor.dtype.str}\x1f{tensor.shape}\x1e".encode())
        sha.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def write_safetensors(path: Path, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write ``parameters`` durably as one safetensors file, keeping their order."""
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in parameters.items()}
    metadata = {"order": "\x1f".join(tensors)}
    try:
        durable.replace(path, lambda new: save_file(tensors, new, metadata=metadata))
    except SafetensorError as error:
        raise _refused(error, path) from None


def read_safetensors(path: Path) -> Parameters:
    """Read what ``write_safetensors`` wrote, in the same order.

    Raises:
        DamagedStateError: The file is missing or not safetensors.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedStateError(f"{path} cannot be read as safetensors: {error}") from None
    return {name: tensors[name] for name in _order(path, tensors)}


def _order(path: Path, tensors: Mapping[str, Any]) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        order = (file.metadata() or {}).get("order", "").split("\x1f")
    return order if set(order) == set(tensors) else sorted(tensors)


def _refused(error: SafetensorError, path: Path) -> OSError:
    """Return the system's own error that the library tells of in words."""
    said = re.search(r"os error (\d+)", str(error))
    number = int(said[1]) if said else errno.EIO
    return OSError(number, os.strerror(number) if said else str(error), str(path))
