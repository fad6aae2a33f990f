"""Measure the outlines of a site's patients case by case: numbers that stay at the site.

Dice is ``training.predict``'s; distances between surfaces are MONAI's. They are millimetres where
the task resamples to a spacing, else pixels of the network's input. What of them may leave, as
noised sums, is ``fedrad.shift.blocks``'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedrad.metrics.boundaries import TOLERANCE
from fedrad.shift.blocks import Cases
from fedrad.task import Task
from site_client.training.predict import Masks, iter_cases, patient_dice
from site_client.training.source import PatientSource

if TYPE_CHECKING:
    from torch import nn

PERCENTILE = 95


def measured_cases(module: nn.Module, source: PatientSource, task: Task) -> Cases:
    """Return how well a network outlines each patient.

    Raises:
        ModelError: A patient has no masks.
    """
    spacing = task.data.spacing_mm or (1.0,) * task.data.dimensions
    dice, near, far, empty = [], [], [], []
    for truth, predicted in iter_cases(module, source):
        dice.append(patient_dice(truth, predicted))
        surface, distance = surfaces(truth, predicted, spacing)
        near.append(surface)
        far.append(distance)
        empty.append(not predicted.any())
    return Cases(
        dice=np.array(dice, np.float64),
        nsd=np.array(near, np.float64),
        distance=np.array(far, np.float64),
        prediction_empty=np.array(empty, np.bool_),
    )


def surfaces(truth: Masks, predicted: Masks, spacing: tuple[float, ...]) -> tuple[float, float]:
    """Return a patient's mean surface Dice and mean HD95 over images with a reference.

    An image in which nothing was predicted has surface Dice 0 and an infinite distance. Both are
    NaN where every reference is empty.

    Args:
        truth: (images, ...), one patient's.
        predicted: The same shape.
        spacing: Length of a pixel along each axis.
    """
    axes = tuple(range(1, truth.ndim))
    kept = truth.any(axes)
    if not kept.any():
        return float("nan"), float("nan")
    found = [_surfaces(t, p, spacing) for t, p in zip(truth[kept], predicted[kept], strict=True)]
    near, far = np.array(found, dtype=np.float64).mean(axis=0)
    return float(near), float(far)


def _surfaces(truth: Masks, predicted: Masks, spacing: tuple[float, ...]) -> tuple[float, float]:
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # slow to import
    from monai.metrics.surface_dice import compute_surface_dice

    if not predicted.any():
        return 0.0, float("inf")
    one, other = (
        torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, truth)
    )
    shared = {"include_background": True, "spacing": list(spacing)}
    near = compute_surface_dice(one, other, class_thresholds=[TOLERANCE], **shared)
    far = compute_hausdorff_distance(one, other, percentile=PERCENTILE, **shared)
    return float(near), float(far)
