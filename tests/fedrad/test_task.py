"""A task is refused before the study starts if it asks for what nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_study import tiny_task

from fedrad.durable import file_digest
from fedrad.errors import SettingsError
from fedrad.parameters import write_safetensors
from fedrad.provenance import Provenance, write_provenance
from fedrad.task import Task, read_task, task_hash, write_task


@pytest.mark.parametrize(
    "setting",
    [
        "evaluation.strata=['sex']",
        "analysis.final_round=fixed",
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


@pytest.mark.parametrize("source", ["rtstruct", "nifti"])
def test_what_is_drawn_on_series_needs_volumes(source: str) -> None:
    with pytest.raises(SettingsError, match=rf"labels.source '{source}' needs data.dimensions = 3"):
        tiny_task("task.kind=segmentation", f"labels.source={source}")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("data.modality=US", "sop_classes must be named, except for CR, DX, MG, CT, MR, PT"),
        ("data.min_rows=0", "min_rows and min_columns must be 1 or more"),
        ("data.orientations=['LX']", "orientations must be axial, coronal, sagittal, or two"),
    ],
)
def test_a_contract_on_data_that_nothing_could_keep_is_refused(setting: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        tiny_task(setting)


KNOWN = "source='a paper', data='phantoms', licence='CC0-1.0'"


def starting_from(digest: str, *settings: str) -> Task:
    known = f"model.provenance={{{KNOWN}, digest='{digest}'}}"
    return tiny_task("model.initial=start.safetensors", known, *settings)


def test_starting_weights_without_provenance_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"start.safetensors.*without provenance are refused"):
        tiny_task("model.initial=start.safetensors")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("model.initial=/etc/start.safetensors", "relative to the task file"),
        ("model.initial=../start.safetensors", "relative to the task file"),
        ("model.initial=start.pt", "must be a .safetensors file"),
        ("model.initial=", "name their file in initial"),
        ("model.provenance.digest=abc", "digest must be the SHA-256 of the file"),
        ("model.provenance.licence= ", "weights of unknown licence are not used"),
        ("model.trained=first", "must be one of 'all', 'norm\\+last', 'last'"),
    ],
)
def test_starting_weights_that_cannot_be_used_are_named(setting: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        starting_from("a" * 64, setting)


def test_freezing_random_weights_is_refused() -> None:
    with pytest.raises(SettingsError, match="would freeze weights that nobody trained"):
        tiny_task("model.trained=last")


@pytest.mark.parametrize("decay", [0, 1, -0.1])
def test_an_average_needs_a_decay_between_0_and_1(decay: float) -> None:
    with pytest.raises(SettingsError, match="average must lie between 0 and 1"):
        tiny_task(f"federation.average={decay}")


def test_the_hash_pins_file_provenance_and_what_is_trained() -> None:
    tasks = [
        tiny_task(),
        starting_from("a" * 64),
        starting_from("b" * 64),
        starting_from("a" * 64, "model.provenance.licence=MIT"),
        starting_from("a" * 64, "model.trained=last"),
    ]
    assert len({task_hash(task) for task in tasks}) == len(tasks)


def test_a_written_task_is_the_same_task_where_the_weights_are_not(tmp_path: Path) -> None:
    """A site gets the task without the file: the weights reach it with round 1."""
    task = starting_from("a" * 64, "federation.average=0.9")
    write_task(tmp_path / "task.toml", task)
    assert task_hash(read_task(tmp_path / "task.toml")) == task_hash(task)


def test_a_task_takes_the_provenance_from_beside_its_weights(tmp_path: Path) -> None:
    """The file that a person writes names the weights and nothing else."""
    weights = tmp_path / "start.safetensors"
    write_safetensors(weights, {"a": np.ones(2, np.float32)})
    known = Provenance(source="s", data="d", licence="l", digest=file_digest(weights))
    write_task(tmp_path / "task.toml", starting_from("a" * 64))
    text = (tmp_path / "task.toml").read_text().split("[model.provenance]")
    rest = text[1].split("[", 1)[1]
    (tmp_path / "task.toml").write_text(f"{text[0]}[{rest}")
    with pytest.raises(SettingsError, match=r"without provenance are refused: write start.json"):
        read_task(tmp_path / "task.toml")
    write_provenance(weights, known)
    assert read_task(tmp_path / "task.toml").model.provenance == known
    weights.write_bytes(b"other")
    with pytest.raises(SettingsError, match="another file"):
        read_task(tmp_path / "task.toml")
