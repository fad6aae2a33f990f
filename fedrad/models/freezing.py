"""Which parameters of a network are trained: all, the last part, or norms and the last part.

A frozen parameter has no gradient, so nothing clips it, noises it or sends it; it keeps its
starting weights at every site. Where they come from belongs to ``starting_weights``.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from fedrad.errors import ModelError
from fedrad.model_choice import Trained

_NORMS = (nn.GroupNorm, nn.LayerNorm, _InstanceNorm)


def freeze(module: nn.Module, trained: Trained, *, last: str) -> nn.Module:
    """Let ``trained`` of the parameters need a gradient and the others not.

    Args:
        module: Changed in place and returned.
        trained: ``"all"``, ``"last"`` or ``"norm+last"``, which is scale and offset of every
            normalisation together with the last part.
        last: Dotted name of the network's last part.

    Raises:
        ModelError: ``"norm+last"`` of a network that normalises nothing.
    """
    moving = _parameters_of(module, last)
    if trained == "norm+last":
        moving |= _norm_parameters(module, last)
    for name, tensor in module.named_parameters():
        tensor.requires_grad_(trained == "all" or name in moving)
    return module


def _parameters_of(module: nn.Module, part: str) -> set[str]:
    return {f"{part}.{name}" for name, _ in module.get_submodule(part).named_parameters()}


def _norm_parameters(module: nn.Module, last: str) -> set[str]:
    norms = {name for name, child in module.named_modules() if isinstance(child, _NORMS)}
    found = {
        f"{norm}.{name}"
        for norm in norms
        for name, _ in module.get_submodule(norm).named_parameters()
    }
    if found <= _parameters_of(module, last):
        raise ModelError(
            f"{type(module).__name__} has no trained normalisation before its last part; "
            "use trained = 'last'"
        )
    return found
