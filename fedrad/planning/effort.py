"""How long a round will take: measured here, on made-up patients, in about a second.

A probe is a function that takes a number of patients through one local step. It is timed by
the wall's clock with more and more patients until the time can be read, the faster of two
calls each; the last time is scaled to the expected draw. This module has the probe without
privacy, which needs the network alone; a site measures its own private step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedrad.models.filter_bank import Stemmed
from fedrad.task import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

LONG_ENOUGH_S = 0.3  # a call this long is read; shorter ones are repeated with more patients

Probe = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Seconds that local training takes on this machine."""

    what: str  # what a step was, in words
    patients: int  # of the step that was read
    step_s: float  # seconds of that step
    expected_batch: float  # patients that a step of the task draws
    steps: int  # in a round
    threads: int

    @property
    def scaled(self) -> bool:
        """Whether the step that was read was smaller than the task's."""
        return self.patients < self.expected_batch

    @property
    def round_s(self) -> float:
        """Seconds of local training in one round, in proportion to the patients."""
        return self.steps * self.step_s * self.expected_batch / self.patients


def measured(probe: Probe, *, what: str, task: Task, expected_batch: float) -> Effort:
    """Time a probe.

    Args:
        probe: Takes that many patients through one local step.
        what: What the probe does, for the reader.
        task: Its number of steps.
        expected_batch: Patients that a step is expected to draw; above 0.
    """
    import torch

    most = max(1, round(expected_batch))
    patients = min(2, most)
    probe(patients)  # the first call pays for what is set up once
    took_s = _seconds(probe, patients)
    while took_s < LONG_ENOUGH_S and patients < most:
        patients = min(most, 2 * patients)
        took_s = _seconds(probe, patients)
    return Effort(
        what=what,
        patients=patients,
        step_s=took_s,
        expected_batch=float(most),
        steps=task.training.steps,
        threads=torch.get_num_threads(),
    )


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Let the network's arithmetic use so many threads inside, as many as before after."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def plain_probe(task: Task, module: nn.Module) -> Probe:
    """Return a probe that goes forward and backward through the trained part of a network.

    One image a patient; a fixed stem runs once a study and is left out. Clipping, noise and
    the optimiser are not part of it.
    """
    import torch
    from torch.nn import functional

    images = torch.rand(1, 1, *task.recipe.size)
    part: nn.Module = module
    if isinstance(module, Stemmed):
        with torch.no_grad():
            images, part = module.stem(images), module.head
    weights = [tensor for tensor in part.parameters() if tensor.requires_grad]
    places = tuple(task.recipe.size) if task.task.kind == "segmentation" else ()

    def step(patients: int) -> None:
        batch = images.expand(patients, *images.shape[1:]).contiguous()
        truth = torch.zeros((patients, *places), dtype=torch.int64)
        loss: torch.Tensor = functional.cross_entropy(part(batch), truth)
        torch.autograd.grad(loss, weights, allow_unused=True)

    return step


def _seconds(probe: Probe, patients: int) -> float:
    """Return the faster of two calls: whatever else the machine does only slows one down."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        probe(patients)
        taken.append(time.perf_counter() - start)
    return max(min(taken), 1e-9)
