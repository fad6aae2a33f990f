"""Score a site's patients with a network: numbers per patient that stay at the site.

What of them may leave, as noised sums, belongs to ``fedrad.metrics`` and
``fedrad.site_report``. Dice lies in [0, 1]; scores are probabilities of the positive class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedrad.errors import ModelError
from site_client.training.source import PatientSource, Record, place_of, stack_images, through_stem

BATCH_IMAGES = 64
Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]


def scores(module: nn.Module, source: PatientSource, *, positive: int = 1) -> Floats:
    """Return each patient's mean probability of a class over its images, (patients,).

    Args:
        module: A classification network; its mode is as before afterwards.
        source: Patients, or a kept ``FeatureSource`` of them.
        positive: Index of the class, ``task.positive_index``.
    """
    found: list[float] = []
    for records, logits in _predictions(module, source):
        probability = logits.softmax(1)[:, positive].double()
        ends = np.cumsum([len(record.images) for record in records])
        parts = np.split(probability.numpy(), ends[:-1])
        found += [float(part.mean()) for part in parts]
    return np.array(found, dtype=np.float64)


def case_dice(module: nn.Module, source: PatientSource) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return each patient's Dice of class 1, and whether nothing was predicted, (patients,).

    A patient's Dice is the mean over the images whose reference is not empty; it is NaN
    where every reference is empty. The second array is True where no pixel of any of the
    patient's images was predicted.

    Raises:
        ModelError: A patient has no masks.
    """
    found: list[float] = []
    empty: list[bool] = []
    for truth, predicted in iter_cases(module, source):
        found.append(patient_dice(truth, predicted))
        empty.append(not predicted.any())
    return np.array(found, dtype=np.float64), np.array(empty, dtype=np.bool_)


def iter_cases(module: nn.Module, source: PatientSource) -> Iterator[tuple[Masks, Masks]]:
    """Yield each patient's reference and prediction of class 1, (images, ...) each.

    Raises:
        ModelError: A patient has no masks.
    """
    for records, logits in _predictions(module, source):
        predicted = logits.argmax(1).numpy().astype(bool)
        ends = np.cumsum([len(record.images) for record in records])
        for record, part in zip(records, np.split(predicted, ends[:-1]), strict=True):
            if record.masks is None:
                raise ModelError("a patient has no masks; Dice needs a segmentation task")
            yield record.masks[:, 0].astype(bool), part


def patient_dice(truth: Masks, predicted: Masks) -> float:
    """Return the mean Dice over the images whose reference is not empty; NaN: there is none."""
    axes = tuple(range(1, truth.ndim))
    overlap = (predicted & truth).sum(axes)
    total = predicted.sum(axes) + truth.sum(axes)
    with_reference = truth.any(axes)
    if not with_reference.any():
        return float("nan")
    return float((2 * overlap[with_reference] / total[with_reference]).mean())


def _predictions(
    module: nn.Module, source: PatientSource
) -> Iterator[tuple[list[Record], torch.Tensor]]:
    """Yield patients of at most about ``BATCH_IMAGES`` images with their images' logits."""
    part, patients = through_stem(module, source)
    was_training = part.training
    part.eval()
    try:
        for records in _batches(patients):
            with torch.no_grad():
                yield records, part(stack_images(records, place_of(part))).cpu()
    finally:
        part.train(was_training)


def _batches(patients: PatientSource) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for index in range(len(patients)):
        batch.append(patients.record(index))
        if sum(len(record.images) for record in batch) >= BATCH_IMAGES:
            yield batch
            batch = []
    if batch:
        yield batch
