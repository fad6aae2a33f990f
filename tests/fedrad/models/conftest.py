"""Tasks that name a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedrad.task import Task, parse_task

MakeTask = Callable[..., Task]


@pytest.fixture
def task_with() -> MakeTask:
    """Build a task around a network: ``task_with("unet", kind=..., size=..., **parameters)``."""

    def make(
        name: str,
        *,
        kind: str = "classification",
        size: tuple[int, ...] = (32, 32),
        **parameters: Any,
    ) -> Task:
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
                },
                "model": {"name": name, "parameters": parameters},
                "training": {"steps": 1, "expected_batch_patients": 8},
                "federation": {"rounds": 1},
                "privacy": {"enabled": False},
                "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
                "analysis": {"primary": "auroc"},
            }
        )

    return make
