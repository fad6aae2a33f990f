"""Scoring a split of a site: one record a patient, truth of the task's positive class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tiny_study import TinyStudy, tiny_task

from fedrad.errors import DataError
from fedrad.models.networks import build
from site_client.dataset import load_split
from site_client.measure import exact_of_split, measure_split, positive_labels
from site_client.training.source import PatientImages


@dataclass
class Few:
    """A source of some records."""

    records: list[PatientImages]

    def __len__(self) -> int:
        return len(self.records)

    def record(self, index: int, /) -> PatientImages:
        return self.records[index]


def patient(label: int | None, images: int = 1) -> PatientImages:
    rng = np.random.default_rng(images)
    return PatientImages("p", rng.random((images, 1, 32, 32), np.float32), label)


def test_a_patient_counts_once_whatever_the_number_of_images() -> None:
    task = tiny_task()
    source = Few([patient(1, 4), patient(0, 1), patient(0, 2)])
    blocks = {b.name: b.values for b in measure_split(build(task, seed=1), source, task)}
    assert (blocks["n"][0], blocks["positives"][0]) == (3, 1)
    assert blocks["operating"].sum() == blocks["table"].sum() == 3


def test_the_positive_class_is_the_task_s() -> None:
    task = tiny_task()
    other = replace(task, task=replace(task.task, positive="normal"))
    source = Few([patient(1), patient(0), patient(0)])
    assert positive_labels(source, task).tolist() == [1, 0, 0]
    assert positive_labels(source, other).tolist() == [0, 1, 1]


def test_a_patient_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="has no label"):
        positive_labels(Few([patient(None)]), tiny_task())


def test_the_sums_of_a_split_are_those_of_its_patients(study: TinyStudy) -> None:
    source = load_split(study.home(), study.task, "audit")
    module = build(study.task, seed=1)
    blocks = {b.name: b for b in measure_split(module, source, study.task)}
    assert blocks["n"].values[0] == len(source) > 0
    assert blocks["positives"].values[0] == sum(source.labels.values())
    assert all(block.sigma == 0 for block in blocks.values())
    assert 0 <= exact_of_split(module, source, study.task).values[0] <= 1
