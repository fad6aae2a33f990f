"""A processor that is not there: tensors that say they lie elsewhere and are kept on the CPU.

What runs on a GPU fails when tensors of two devices meet, or when one is read as a NumPy
array. So do these, on a machine without a GPU; their results are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")  # the one name that needs no driver; no tensor is a real one


class Far(torch.Tensor):
    """A tensor that lies elsewhere; ``near`` is what it holds."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> Far:
        out: Far = torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=ELSEWHERE,
        )
        out.near = near
        return out

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(operation, args, kwargs or {})


class Pretended(TorchDispatchMode):
    """Inside, what is made on ``ELSEWHERE`` or moved there is ``Far``."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(operation, args, kwargs or {})


def moved(module: nn.Module) -> nn.Module:
    """Move the tensors of a module elsewhere, in place."""
    for part in module.modules():
        for name, tensor in part._parameters.items():
            if tensor is not None:
                there = nn.Parameter(Far(tensor.detach()), requires_grad=tensor.requires_grad)
                part._parameters[name] = there
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else Far(buffer)
    return module


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = any(isinstance(tensor, Far) for tensor in tensors)
    if "device" in kwargs and kwargs["device"] is not None:
        there = torch.device(kwargs["device"]) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    elif there and operation._schema.name != "aten::copy_":
        _refuse_two_devices(operation, tensors)
    out = operation(*tree_map(_near, args), **tree_map(_near, kwargs))
    known = {id(tensor.near): tensor for tensor in tensors if isinstance(tensor, Far)}
    return tree_map(lambda leaf: known.get(id(leaf), _far(leaf)), out) if there else out


def _refuse_two_devices(operation: Any, tensors: Iterable[torch.Tensor]) -> None:
    if any(not isinstance(tensor, Far) and tensor.ndim for tensor in tensors):
        raise RuntimeError(f"{operation._schema.name} was given tensors of two devices")


def _near(leaf: Any) -> Any:
    return leaf.near if isinstance(leaf, Far) else leaf


def _far(leaf: Any) -> Any:
    return Far(leaf) if isinstance(leaf, torch.Tensor) else leaf
