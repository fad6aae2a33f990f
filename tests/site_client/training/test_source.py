"""Patients to train on, and features that are computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.networks import build
from fedrad.task import Task
from site_client.training.source import (
    FeatureSource,
    PatientImages,
    StemFeatures,
    kept_features,
    stack_truth,
    through_stem,
)

MakeTask = Callable[..., Task]


class CountingStem(nn.Module):
    """A stem that counts how often it is used."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images * 2


def test_the_stem_runs_once_per_patient(blob_patients: Callable) -> None:
    stem = CountingStem()
    source = FeatureSource(blob_patients(3), stem)
    for _ in range(4):
        records = [source.record(index) for index in range(len(source))]
    assert stem.calls == 3
    np.testing.assert_array_equal(records[1].images, blob_patients(3).record(1).images * 2)
    assert [record.label for record in records] == [0, 1, 0]


def test_features_of_another_module_with_the_same_filters_are_used_as_they_are(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    before, after = (build(task_with(), seed=seed) for seed in (1, 2))
    kept = kept_features(before, blob_patients(2), task_with())
    head, source = through_stem(after, kept)
    assert head is after.head
    assert source.record(0) is kept.record(0)
    expected = after(torch.from_numpy(blob_patients(2).record(0).images))
    torch.testing.assert_close(head(torch.from_numpy(source.record(0).images)), expected)


def test_features_of_other_filters_are_refused(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    kept = kept_features(build(task_with(), seed=1), blob_patients(2), task_with())
    coarser = build(task_with(parameters={"shrink": 8}), seed=1)
    _, source = through_stem(coarser, kept)
    with pytest.raises(ModelError, match="another stem"):
        source.record(0)


def test_a_network_without_a_stem_is_trained_as_it_is(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with("unet", kind="segmentation")
    module, patients = build(task, seed=1), blob_patients(2)
    assert kept_features(module, patients, task) is patients
    assert through_stem(module, patients) == (module, patients)
    features = FeatureSource(patients, CountingStem())
    with pytest.raises(ModelError, match="UNet has no fixed stem; give it images"):
        through_stem(module, features)


def test_nothing_is_kept_where_images_change_at_random(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task, patients = task_with(augment=("flip",)), blob_patients(2)
    assert kept_features(build(task, seed=1), patients, task) is patients


def test_a_patient_without_truth_is_refused() -> None:
    images = np.zeros((1, 1, 8, 8), np.float32)
    with pytest.raises(ModelError, match="neither label nor masks"):
        stack_truth([PatientImages("p", images)])
    features = StemFeatures("p", images, 1, stem=CountingStem())
    assert stack_truth([features]).tolist() == [1]
