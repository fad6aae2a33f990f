"""The local optimiser: torch's functions for SGD and Adam, from a fresh state.

``torch.optim.SGD`` and ``Adam`` take the same steps, bit for bit, but making one imports torch's
compiler: seconds and memory in each process that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from fedrad.task import Optimiser

Step = Callable[[], None]


def descent(tensors: Sequence[nn.Parameter], choice: Optimiser, *, rate: float) -> Step:
    """Return what takes one step by the gradients that the tensors have then.

    Args:
        tensors: Changed in place; each must have a gradient at every step.
        choice: SGD with its momentum, or Adam with beta 0.9 and 0.999 and eps 1e-8; weight
            decay is added to the gradient.
        rate: The learning rate.
    """
    return _adam(tensors, choice, rate) if choice.name == "adam" else _sgd(tensors, choice, rate)


def _sgd(tensors: Sequence[nn.Parameter], choice: Optimiser, rate: float) -> Step:
    buffers: list[torch.Tensor | None] = [None] * len(tensors)

    @torch.no_grad()
    def step() -> None:
        sgd(
            list(tensors), _gradients(tensors), buffers,
            lr=rate, momentum=choice.momentum, weight_decay=choice.weight_decay,
            dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip

    return step


def _adam(tensors: Sequence[nn.Parameter], choice: Optimiser, rate: float) -> Step:
    means, squares = ([torch.zeros_like(t) for t in tensors] for _ in range(2))
    counts = [torch.zeros(()) for _ in tensors]

    @torch.no_grad()
    def step() -> None:
        adam(
            list(tensors), _gradients(tensors), means, squares, [], counts,
            lr=rate, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=choice.weight_decay,
            amsgrad=False, maximize=False,
        )  # fmt: skip

    return step


def _gradients(tensors: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    return [tensor.grad for tensor in tensors if tensor.grad is not None]
