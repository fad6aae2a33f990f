"""Steps without torch's optimiser classes are their steps, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from fedrad.task import Optimiser
from site_client.training.descent import descent

CHOICES = [
    Optimiser(name="sgd", rate=0.3, momentum=0.0, weight_decay=0.0),
    Optimiser(name="sgd", rate=0.3, momentum=0.9, weight_decay=0.01),
    Optimiser(name="adam", rate=0.02, weight_decay=0.0),
    Optimiser(name="adam", rate=0.02, weight_decay=0.01),
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_five_steps_are_those_of_torchs_optimiser(choice: Optimiser) -> None:
    ours, theirs = _tensors(), _tensors()
    descend, other = descent(ours, choice, rate=choice.rate), _torchs(theirs, choice)
    rng = torch.Generator().manual_seed(3)
    for _ in range(5):
        for left, right in zip(ours, theirs, strict=True):
            left.grad = torch.randn(left.shape, generator=rng)
            right.grad = left.grad.clone()
        descend()
        other.step()
    assert all(torch.equal(left, right) for left, right in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[0], _tensors()[0])


def test_no_compiler_is_imported() -> None:
    code = (
        "import sys, torch; from fedrad.task import Optimiser; "
        "from site_client.training.descent import descent; p = torch.nn.Parameter(torch.ones(2)); "
        "p.grad = torch.ones(2); "
        "[descent([p], Optimiser(name=n, rate=.1), rate=.1)() for n in ('sgd', 'adam')]; "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _tensors() -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in ((4, 3), (5,), ())]


def _torchs(tensors: list[nn.Parameter], choice: Optimiser) -> torch.optim.Optimizer:
    more: dict[str, Any] = {"lr": choice.rate, "weight_decay": choice.weight_decay}
    if choice.name == "adam":
        return torch.optim.Adam(tensors, **more)
    return torch.optim.SGD(tensors, momentum=choice.momentum, **more)
