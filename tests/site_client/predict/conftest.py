"""Released models and studies' folders for predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_run import PIXELS, SEGMENTS, write_model_folder
from tiny_study import tiny_task

from fedrad.released import Released, read_released
from site_client.limits import Reading
from site_client.predict.run import Means, Predicted, predict

LUNG = (
    "output.components=2",
    "output.fill_holes=true",
    'output.category=["123037004", "SCT", "Anatomical Structure"]',
    'output.type=["39607008", "SCT", "Lung"]',
)
VOLUMES = (
    *SEGMENTS,
    "data.modality=CT",
    "data.dimensions=3",
    "data.min_rows=8",
    "data.min_columns=8",
    "data.spacing_mm=[5.0, 1.0, 1.0]",
    "recipe.size=[8, 16, 16]",
    "recipe.intensity.constants=ct-lung-1",
    "recipe.intensity.kind=window",
    "model.name=unet",
    "model.parameters={channels=[4, 8]}",
)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Released]:
    """Give the model of a task."""
    kept: dict[tuple[str, ...], Released] = {}

    def give(*settings: str) -> Released:
        if settings not in kept:
            folder = tmp_path_factory.mktemp("models") / "model"
            kept[settings] = read_released(write_model_folder(folder, tiny_task(*settings)))
        return kept[settings]

    return give


@pytest.fixture
def pixels(released: Callable[..., Released]) -> Released:
    """A model that outlines something on radiographs, with post-processing."""
    return released(*PIXELS, *LUNG)


@pytest.fixture
def volumes(released: Callable[..., Released]) -> Released:
    """A model that outlines something in CT series."""
    return released(*VOLUMES)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Path, Released], Predicted]:
    """Run a model on a folder."""

    def go(folder: Path, model: Released) -> Predicted:
        return predict(folder, model, tmp_path / "out", Means(reading=Reading(workers=1)))

    return go
