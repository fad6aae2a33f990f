"""Measure a report by its task's kind: the aggregator's one door to the metrics.

Everything here is post-processing of sums that left the sites; nothing costs privacy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedrad.metrics import boundaries, classification, segmentation
from fedrad.metrics.metric import Metric, method_of
from fedrad.protocol.messages import Block
from fedrad.task import Task


def measure(blocks: Sequence[Block], task: Task, rng: np.random.Generator) -> tuple[Metric, ...]:
    """Read the metrics off the blocks of one site, or pooled ones, for this task.

    Raises:
        ProtocolError: The blocks are not those of the task's kind.
    """
    edges = task.evaluation.edges
    if task.task.kind == "segmentation":
        return _outlines(blocks, edges, rng)
    return classification.measure(
        blocks, edges=edges, operating_point=task.analysis.operating_point, rng=rng
    )


def _outlines(
    blocks: Sequence[Block], edges: tuple[float, ...], rng: np.random.Generator
) -> tuple[Metric, ...]:
    """Return metrics of Dice, and those of surfaces where a report has them."""
    found = segmentation.measure(blocks, edges=edges, rng=rng)
    if not any(block.name in boundaries.CELLS for block in blocks):
        return found
    patients = segmentation.patients_scored(blocks, edges)
    surfaces = boundaries.measure(blocks, patients, method=method_of(blocks), rng=rng)
    return (*found[:-1], *surfaces, found[-1])
