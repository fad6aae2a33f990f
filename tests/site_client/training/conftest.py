"""Patients as arrays, and tasks to train on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedrad.models.filter_bank import Pooling, classifier_head
from fedrad.task import Task, parse_task
from site_client.training.source import PatientImages

MakeTask = Callable[..., Task]


@dataclass(frozen=True)
class Patients:
    """A source in memory."""

    records: list[PatientImages]

    def __len__(self) -> int:
        return len(self.records)

    def record(self, index: int, /) -> PatientImages:
        return self.records[index]


@pytest.fixture
def task_with() -> MakeTask:
    """Build a task: ``task_with(model=..., kind=..., size=..., **training)``."""

    def make(
        model: str = "filter_bank_cnn",
        *,
        kind: str = "classification",
        size: tuple[int, ...] = (32, 32),
        augment: tuple[str, ...] = (),
        parameters: dict[str, Any] | None = None,
        **training: Any,
    ) -> Task:
        fixed = {"steps": 2, "expected_batch_patients": 8}
        return parse_task(
            {
                "schema": 1,
                "task": {"name": "t", "kind": kind, "classes": ["no", "yes"], "positive": "yes"},
                "data": {"modality": "DX", "dimensions": len(size)},
                "labels": {
                    "source": "seg" if kind == "segmentation" else "csv",
                    "map": {"no": 0, "yes": 1},
                },
                "recipe": {
                    "size": list(size),
                    "intensity": {"kind": "range", "constants": "dx-unit-1"},
                    "augment": list(augment),
                },
                "model": {"name": model, "parameters": parameters or {}},
                "training": {**fixed, **training},
                "federation": {"rounds": 1},
                "privacy": {"enabled": False},
                "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
                "analysis": {"primary": "auroc"},
            }
        )

    return make


@pytest.fixture
def blob_patients() -> Callable[..., Patients]:
    """Draw patients with noise images; every second has a bright blob, told by label or mask."""

    def draw(
        count: int, *, seed: int = 0, size: int = 32, most: int = 2, masked: bool = False
    ) -> Patients:
        rng = np.random.default_rng(seed)
        records = [_blob_patient(rng, i, size, most) for i in range(count)]
        hidden = {"label": None} if masked else {"masks": None}
        return Patients([replace(record, **hidden) for record in records])

    return draw


def _blob_patient(rng: np.random.Generator, index: int, size: int, most: int) -> PatientImages:
    label = index % 2
    y, x = np.mgrid[:size, :size]
    images, masks = [], []
    for _ in range(int(rng.integers(1, most + 1))):
        row, column = rng.uniform(8, size - 8, 2)
        square = (y - row) ** 2 + (x - column) ** 2
        image = rng.normal(0.4, 0.08, (size, size)) + label * 0.4 * np.exp(-square / 18)
        images.append(image[None].astype(np.float32))
        masks.append((label * (square < 25))[None].astype(np.uint8))
    return PatientImages(f"p{index:05d}", np.stack(images), label, np.stack(masks))


@pytest.fixture
def head() -> nn.Module:
    """The trained part of the filter-bank CNN on 3 channels, with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return classifier_head(3, 4, pooling=Pooling(kind="top", top=4, cells=2))


@pytest.fixture
def feature_patients() -> Callable[..., list[PatientImages]]:
    """Draw patients with random 3-channel images of 6 by 6, as many images as named."""

    def draw(counts: list[int], *, scale: float = 1.0, seed: int = 0) -> list[PatientImages]:
        rng = np.random.default_rng(seed)
        return [
            PatientImages(
                f"p{index:05d}",
                (scale * rng.standard_normal((count, 3, 6, 6))).astype(np.float32),
                index % 2,
            )
            for index, count in enumerate(counts)
        ]

    return draw
