"""Compare two models on the same patients of a site: which alone is right, or outlines better.

Both come in one message (``fedrad.shift.pairs``); charge and noise belong to ``round``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedrad.errors import DeclinedError
from fedrad.protocol.messages import Block
from fedrad.shift.gate import discordance, outlined
from fedrad.shift.pairs import apart, may_compare
from site_client.measure import positive_labels
from site_client.study import Duty
from site_client.training.predict import Floats, case_dice, scores
from site_client.training.source import PatientSource

if TYPE_CHECKING:
    from torch import nn


def each(duty: Duty) -> tuple[Duty, Duty]:
    """Return the duty with the model in use, and with the new one.

    Raises:
        DeclinedError: The task grants no comparison.
        ProtocolError: The message does not carry two models of the same parameters.
    """
    if not may_compare(duty.task):
        raise DeclinedError(f"the task {duty.task.task.name!r} grants no comparison of two models")
    before, after = apart(duty.model)
    return replace(duty, model=before), replace(duty, model=after)


def scored(module: nn.Module, source: PatientSource, duty: Duty) -> Floats:
    """Return each patient's score, or of outlines the Dice, (patients,)."""
    if duty.task.task.kind == "segmentation":
        return case_dice(module, source)[0]
    return scores(module, source, positive=duty.task.positive_index)


def sums(before: Floats, after: Floats, source: PatientSource, duty: Duty) -> tuple[Block, ...]:
    """Return the exact sums of a comparison; raises ``DataError`` for a patient without label."""
    if duty.task.task.kind == "segmentation":
        return outlined(before, after)
    labels = positive_labels(source, duty.task)
    point = duty.task.analysis.operating_point
    return discordance(before, after, labels, operating_point=point)
