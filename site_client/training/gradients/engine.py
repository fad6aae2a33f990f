"""Run a network once and catch what every layer needs for its patients' gradients.

One forward and one backward pass. The weights take no part in the backward pass: only
signals flow, and each trained layer hands its two signals to its rule as they pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fedrad.errors import ModelError
from site_client.training.gradients.grouping import Grouping
from site_client.training.gradients.precision import signals_in
from site_client.training.gradients.rules import Rule, Seen, rule_for, trained
from site_client.training.gradients.shares import Share
from site_client.training.source import place_of

Losses = Callable[[torch.Tensor], torch.Tensor]


def shares_of(
    module: nn.Module,
    images: torch.Tensor,
    losses: Losses,
    grouping: Grouping,
    *,
    precision: torch.dtype = torch.float32,
) -> list[Share]:
    """Return every trained tensor's share in the gradient of each group's mean loss.

    A trained tensor that the output does not depend on has no share: its gradient is zero.

    Args:
        module: Unchanged; its trained tensors must all have a rule.
        images: (N, C, [D,] H, W) float32, group by group.
        losses: From the network's output to one value per row, (N,).
        grouping: Which rows belong together; N rows.
        precision: Of the signals in the network, float32 or bfloat16. Losses, gradients and
            norms are float32 in both cases, so the bound holds in both.

    Raises:
        ModelError: A trained tensor has no rule, a layer ran twice or saw its input changed
            in place, or the loss is not one value per row; names it and the way out.
    """
    catcher = _Catcher(module, grouping)
    with catcher.listening(), _still(module), signals_in(precision, images.device):
        output = module(images)
    each = losses(output if precision == torch.float32 else output.float())
    if each.shape != (len(images),):
        raise ModelError(
            f"the loss gives values of shape {tuple(each.shape)} for {len(images)} images; "
            "it must give one per image (reduction 'none', then the mean over each image)"
        )
    sizes = torch.tensor([float(count) for count in grouping.counts]).to(each.device)
    total = (each / grouping.to_rows(sizes)).sum()
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
    return catcher.shares


def ruled_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module, Rule]]:
    """Yield name, layer and rule of every layer with trained tensors.

    Raises:
        ModelError: A trained tensor has no rule or belongs to two layers; names it.
    """
    owners: dict[int, str] = {}
    for name, layer in module.named_modules():
        own = trained(layer)
        for key, tensor in own.items():
            full = f"{name}.{key}" if name else key
            if id(tensor) in owners:
                raise ModelError(
                    f"{full!r} and {owners[id(tensor)]!r} are one tensor, so no rule knows a "
                    "patient's gradient; give each layer its own weights, or freeze it"
                )
            owners[id(tensor)] = full
        if not own:
            continue
        rule = rule_for(layer)
        if rule is None:
            names = ", ".join(repr(f"{name}.{key}" if name else key) for key in own)
            raise ModelError(
                f"{type(layer).__name__} has no rule for patients' gradients of {names}; "
                "freeze it, or use a network of Conv, ConvTranspose, Linear, GroupNorm, "
                "InstanceNorm, LayerNorm and PReLU layers"
            )
        yield name, layer, rule


class _Root(torch.autograd.Function):
    """Begin the backward pass at a signal, in place, without a copy."""

    @staticmethod
    def forward(ctx: Any, signal: torch.Tensor, _trigger: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(signal)
        return signal

    @staticmethod
    def backward(_ctx: Any, *_back: torch.Tensor) -> tuple[None, None]:
        return None, None


class _Catcher:
    """Listens to the layers of one pass."""

    def __init__(self, module: nn.Module, grouping: Grouping) -> None:
        self.shares: list[Share] = []
        self._layers = list(ruled_layers(module))
        self._grouping = grouping
        self._seen: set[str] = set()
        self._trigger = torch.zeros((), device=place_of(module), requires_grad=True)

    @contextmanager
    def listening(self) -> Iterator[None]:
        handles = [
            layer.register_forward_hook(self._listener(name, rule))
            for name, layer, rule in self._layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _listener(self, name: str, rule: Rule) -> Callable[..., torch.Tensor]:
        def listen(layer: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            if name in self._seen:
                raise ModelError(
                    f"{type(layer).__name__} at {name!r} runs twice in one pass, so no rule knows "
                    "a patient's gradient; give each use its own layer, or freeze it"
                )
            self._seen.add(name)
            output, watched = _watchable(output, self._trigger)
            given, shape = inputs[0].detach(), output.shape
            version = given._version  # catch() must not hold output: its hook would be a circle

            def catch(back: torch.Tensor) -> None:
                if given._version != version:
                    raise ModelError(
                        f"the input of {type(layer).__name__} at {name!r} is changed in place "
                        "after the layer ran; make that operation return a new tensor"
                    )
                back = back.detach().reshape(shape)
                seen = Seen(given.float(), back.float(), self._grouping)
                self.shares.extend(rule(layer, seen, f"{name}." if name else ""))

            watched.register_hook(catch)  # type: ignore[no-untyped-call]
            return output

        return listen


def _watchable(output: torch.Tensor, trigger: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output and the tensor whose gradient is the output's.

    A hook on a view is lost when the view is changed in place; one on its base is not.
    """
    base = output._base
    if base is not None:
        dense = base.is_contiguous() and output.is_contiguous()
        if dense and base.requires_grad and base.numel() == output.numel():
            return output, base
        output = output.clone()
    if not output.requires_grad:
        output = _Root.apply(output, trigger)  # type: ignore[no-untyped-call]
    return output, output


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Let the trained tensors take no part in the backward pass of what runs inside."""
    stilled = [tensor for tensor in module.parameters() if tensor.requires_grad]
    try:
        for tensor in stilled:
            tensor.requires_grad = False
        yield
    finally:
        for tensor in stilled:
            tensor.requires_grad = True
