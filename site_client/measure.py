"""Score one split of a site with a model, as exact sums; the noise comes after.

Each patient is one record. What is counted is in ``fedrad.metrics``; how sums become
private is in ``fedrad.site_report``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from fedrad.errors import DataError
from fedrad.metrics import classification, segmentation
from fedrad.protocol.messages import Block
from fedrad.task import Task
from site_client.training.predict import case_dice, scores
from site_client.training.source import PatientSource

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)


def measure_split(module: nn.Module, source: PatientSource, task: Task) -> tuple[Block, ...]:
    """Return the exact sums of one kind of report over every patient of ``source``.

    Raises:
        DataError: A patient has no label.
    """
    if task.task.kind == "segmentation":
        dice, empty = case_dice(module, source)
        return segmentation.blocks(dice, empty, edges=task.evaluation.edges)
    found = scores(module, source, positive=task.positive_index)
    if not np.isfinite(found).all():
        left_out = int((~np.isfinite(found)).sum())
        logger.warning("scores not finite, counted as undecided", extra={"patients": left_out})
    return classification.blocks(
        found,
        positive_labels(source, task),
        edges=task.evaluation.edges,
        operating_point=task.analysis.operating_point,
    )


def exact_of_split(module: nn.Module, source: PatientSource, task: Task) -> Block:
    """Return the block ``exact`` that a simulation may add."""
    if task.task.kind == "segmentation":
        return segmentation.exact_block(case_dice(module, source)[0])
    found = scores(module, source, positive=task.positive_index)
    return classification.exact_block(found, positive_labels(source, task))


def positive_labels(
    source: PatientSource, task: Task
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return 1 for each patient of the positive class, else 0, in the source's order.

    Raises:
        DataError: A patient has no label.
    """
    labels = [source.record(index).label for index in range(len(source))]
    if any(label is None for label in labels):
        raise DataError("a patient of a classification task has no label")
    return np.array([label == task.positive_index for label in labels], dtype=np.int64)
