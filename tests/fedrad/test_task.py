"""A task is refused before the study starts if it asks for what nothing does."""

from __future__ import annotations

import pytest
from tiny_study import tiny_task

from fedrad.errors import SettingsError


@pytest.mark.parametrize(
    "setting",
    [
        "model.initial=start.safetensors",
        "evaluation.strata=['sex']",
        "analysis.final_round=fixed",
        "labels.source=nifti",
        "labels.source=rtstruct",
        "task.kind=evaluate",
    ],
)
def test_what_this_version_does_not_do_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="not supported by this version"):
        tiny_task(setting)


@pytest.mark.parametrize("settings", [("labels.source=seg",), ("task.kind=segmentation",)])
def test_truth_of_another_kind_is_refused_before_any_patient_is_asked(settings: tuple[str]) -> None:
    with pytest.raises(SettingsError, match="cannot take its truth from"):
        tiny_task(*settings)
