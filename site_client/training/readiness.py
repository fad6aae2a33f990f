"""Refuse what could not take its first step, before anything is charged for it.

Tried on a made-up patient with the shapes of the task: no patient is read, so the outcome says
nothing about one.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from fedrad.task import Task
from site_client.training.gradients import refuse_unfit
from site_client.training.losses import loss_of
from site_client.training.source import PatientImages, through_stem


class _One:
    """A source of one made-up patient."""

    def __init__(self, patient: PatientImages) -> None:
        self._patient = patient

    def __len__(self) -> int:
        return 1

    def record(self, index: int, /) -> PatientImages:
        del index
        return self._patient


def refuse_untrainable(module: nn.Module, task: Task) -> None:
    """Refuse a network and task that private training would refuse at its first step.

    Args:
        module: The network with the weights received; unchanged.
        task: Names loss and shapes.

    Raises:
        ModelError: As ``gradients.refuse_unfit``.
    """
    loss = loss_of(task)
    if task.privacy.enabled:
        part, patients = through_stem(module, _One(_made_up(task)))
        refuse_unfit(part, loss, patients.record(0))


def _made_up(task: Task) -> PatientImages:
    shape = (1, 1, *task.recipe.size)
    images = np.zeros(shape, np.float32)
    if task.task.kind == "segmentation":
        return PatientImages("", images, None, np.zeros(shape, np.uint8))
    return PatientImages("", images, 0)
