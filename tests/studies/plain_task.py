"""The smallest task that can be agreed, for tests of what is sent under it."""

from __future__ import annotations

from collections.abc import Sequence

from fedrad.task import Task, parse_task


def plain_task(
    kind: str = "classification",
    release: str = "private",
    *,
    edges: Sequence[float] = (0.0, 0.5, 1.0),
) -> Task:
    """Return a task that names everything a reply is checked against; nobody trains it."""
    metric = "dice_mean" if kind == "segmentation" else "auroc"
    return parse_task(
        {
            "schema": 1,
            "task": {"name": "x", "kind": kind, "classes": ["n", "y"], "positive": "y"},
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {
                "source": {"segmentation": "seg"}.get(kind, "csv"),
                "map": {"no": 0, "y": 1},
            },
            "recipe": {"size": [8, 8], "intensity": {"kind": "range", "constants": "unit"}},
            "model": {"name": "tiny"},
            "training": {"steps": 1, "expected_batch_patients": 4.0},
            "federation": {"rounds": 1},
            "privacy": {"enabled": release == "private"},
            "evaluation": {"metrics": [metric], "edges": list(edges), "release": release},
            "analysis": {"primary": metric},
        }
    )
