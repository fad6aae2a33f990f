"""Scores and Dice of patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.networks import build
from fedrad.task import Task
from site_client.training.predict import case_dice, scores
from site_client.training.source import PatientImages, kept_features

MakeTask = Callable[..., Task]


class Bright(nn.Module):
    """Predict the positive class where a pixel is above one half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(images), images - 0.5], dim=1)


class Listed(list):
    """A source in memory."""

    def record(self, index: int, /) -> PatientImages:
        return self[index]


def half(side: str) -> np.ndarray:
    """An 8 by 8 image whose left or right half, both or none, is 1."""
    image = np.zeros((8, 8), np.float32)
    image[:, :4] = side in ("left", "both")
    image[:, 4:] = side in ("right", "both")
    return image


def patient(*pairs: tuple[str, str]) -> PatientImages:
    """A patient from (predicted, true) halves, one pair per image."""
    images = np.stack([half(predicted)[None] for predicted, _ in pairs])
    masks = np.stack([half(true)[None] for _, true in pairs]).astype(np.uint8)
    return PatientImages("p", images, None, masks)


def test_a_patients_score_is_the_mean_over_its_images(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    patients = blob_patients(70, most=3)  # more images than one batch holds
    module = build(task_with(), seed=1)
    found = scores(module, patients)
    with torch.no_grad():
        expected = [
            float(module(torch.from_numpy(record.images)).softmax(1)[:, 1].double().mean())
            for record in patients.records
        ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(scores(module, patients, positive=0), 1 - found, atol=1e-6)
    kept = kept_features(module, patients, task_with())
    np.testing.assert_array_equal(scores(module, kept), found)
    assert found.dtype == np.float64
    assert module.training


def test_dice_of_known_overlaps() -> None:
    source = Listed(
        [
            patient(("left", "left")),  # 1
            patient(("left", "right")),  # 0
            patient(("both", "left")),  # 2 * 32 / (64 + 32)
            patient(("left", "left"), ("none", "left")),  # the mean of 1 and 0
            patient(("left", "left"), ("both", "none")),  # an empty reference is left out
            patient(("none", "none")),
            patient(("left", "none")),
            patient(("none", "left")),
        ]
    )
    dice, empty = case_dice(Bright(), source)
    np.testing.assert_allclose(dice, [1, 0, 2 / 3, 0.5, 1, np.nan, np.nan, 0])
    assert empty.tolist() == [False, False, False, False, False, True, False, True]


def test_nobody_has_no_score(task_with: MakeTask) -> None:
    assert scores(build(task_with(), seed=1), Listed()).shape == (0,)
    assert case_dice(Bright(), Listed())[0].shape == (0,)


def test_dice_without_masks_is_refused() -> None:
    with pytest.raises(ModelError, match="no masks"):
        case_dice(Bright(), Listed([PatientImages("p", half("left")[None, None], 1)]))
