"""Starting weights made from phantoms and from published images."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image
from tiny_study import tiny_task

from fedrad.errors import DataError, RunError, SettingsError
from fedrad.parameters import digest, whole
from fedrad.provenance import provenance_path, read_provenance
from fedrad.settings import as_table
from fedrad.starting_weights import starting_model
from fedrad.task import read_task, write_task
from simulations.pretrain import Made, pretrain
from simulations.pretraining_data import make_pretraining

SHORT: dict[str, Any] = {"phantoms": 40, "epochs": 2, "rate": 0.02}
PUBLIC: dict[str, Any] = {"about": "noise of ours", "licence": "CC0-1.0", "epochs": 2}
SEGMENTATION = (
    "task.kind=segmentation",
    "labels={source='seg', map={lung=1}}",
    "model={name='unet', parameters={channels=[4, 8]}}",
    "training.loss=dice",
)


def task_file(folder: Path, *settings: str) -> Path:
    path = folder / "task.toml"
    write_task(path, tiny_task(*settings))
    return path


def make(path: Path, out: Path, **given: object) -> Made:
    told: list[str] = []
    made = pretrain(*make_pretraining(path, given, ()), out, told.append)
    assert len(told) == 1 + given["epochs"]  # type: ignore[operator]
    return made


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Thirty patients; the sick ones have a bright corner and a mask of it."""
    folder = tmp_path / "published"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "mask", "patient", "site", "label"))
        for n in range(30):
            image = rng.integers(0, 90, (48, 48)).astype(np.uint8)
            image[:16, :16] += np.uint8(120 * (n % 2))
            Image.fromarray(image).save(folder / f"{n}.png")
            mask = np.zeros((48, 48), np.uint8)
            mask[:16, :16] = 255
            Image.fromarray(mask).save(folder / f"{n}_mask.png")
            label = ("normal", "nodule")[n % 2]
            table.writerow((f"{n}.png", f"{n}_mask.png", f"p{n}", ("nih", "esp")[n // 20], label))
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    task = task_file(tmp_path)
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        make(task, path, **SHORT, seed=seed)
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again != other
    assert provenance_path(paths[0]).read_bytes() == provenance_path(paths[1]).read_bytes()


def test_a_task_starts_from_what_was_made_for_it(tmp_path: Path) -> None:
    made = make(task_file(tmp_path), tmp_path / "w.safetensors", **SHORT)
    table = as_table(tiny_task("privacy.enabled=false"))
    table["model"] = {"name": "filter_bank_cnn", "initial": "w.safetensors", "trained": "last"}
    table["federation"].pop("average")
    (tmp_path / "task.toml").write_text(tomli_w.dumps(table))
    task = read_task(tmp_path / "task.toml")
    assert task.model.provenance == made.provenance == read_provenance(made.path)
    first = starting_model(task, seed=5, beside=tmp_path)
    fresh = starting_model(tiny_task(), seed=1, beside=tmp_path)
    assert digest(whole(first)) != digest(whole(fresh))
    assert made.parameters == sum(tensor.numel() for tensor in first.parameters())


def test_the_provenance_says_what_nobody_may_guess(tmp_path: Path) -> None:
    known = make(task_file(tmp_path), tmp_path / "w.safetensors", **SHORT).provenance
    assert known.data == "40 phantom patients (seed 1), nobody's images"
    assert known.privacy == "needs none: no person is in the data"
    assert "seed 1, without privacy" in known.training
    assert "patients who trained nothing" in known.validation


def test_training_on_published_images_learns_and_names_them(
    tmp_path: Path, published: Path
) -> None:
    made = make(
        task_file(tmp_path),
        tmp_path / "w.safetensors",
        **PUBLIC | {"epochs": 6},
        folder=published,
        public={"keep": {"site": ["nih"]}},
        rate=0.02,
    )
    assert made.value > 0.9  # a bright corner is hard to miss
    assert made.provenance.data == "noise of ours; 20 patients"
    assert made.provenance.licence == "CC0-1.0"
    assert "without differential privacy" in made.provenance.privacy


@pytest.mark.parametrize("source", ["phantoms", "published"])
def test_a_segmentation_is_judged_by_its_dice(tmp_path: Path, published: Path, source: str) -> None:
    task = task_file(tmp_path, *SEGMENTATION)
    given = SHORT | {"structure": "lung"} if source == "phantoms" else PUBLIC
    where = {"folder": published} if source == "published" else {}
    made = make(task, tmp_path / "w.safetensors", **given, **where)
    assert made.metric == "dice_mean"
    assert 0 < made.value <= 1
    assert json.loads(json.dumps(made.table()))["digest"] in made.line()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "either a number of phantoms or the folder"),
        ({"phantoms": 9, "folder": "x"}, "either a number of phantoms or the folder"),
        ({"phantoms": 0}, "phantoms must be 1 or more"),
        ({"folder": "x", "about": "chests"}, "about and licence must be given"),
        ({"phantoms": 9, "epochs": 0}, "epochs must be 1 or more"),
        ({"phantoms": 9, "rate": -1.0}, "rate greater than 0"),
        (PUBLIC | {"folder": "x", "public": {"sites": {"a": "b"}}}, "choose rows with public.keep"),
    ],
)
def test_wishes_that_cannot_be_met_are_named(
    tmp_path: Path, given: dict[str, Any], line: str
) -> None:
    with pytest.raises(SettingsError, match=line):
        make_pretraining(task_file(tmp_path), given, ())


def test_a_setting_reaches_the_task_or_the_training(tmp_path: Path) -> None:
    settings = ("model.parameters.width=8", "epochs=3")
    task, wishes = make_pretraining(task_file(tmp_path), {"phantoms": 9}, settings)
    assert (task.model.parameters, wishes.epochs) == ({"width": 8}, 3)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    provenance_path(out).write_text("{}")
    with pytest.raises(RunError, match="already there and may be part of a task"):
        make(task_file(tmp_path), out, **SHORT)
    with pytest.raises(RunError, match="must end in .safetensors"):
        make(task_file(tmp_path), tmp_path / "w.pt", **SHORT)


def test_no_weights_without_somebody_to_judge_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="both classes must be among them; use more"):
        make(task_file(tmp_path), tmp_path / "w.safetensors", **SHORT | {"phantoms": 6})
    assert not (tmp_path / "w.safetensors").exists()


def test_an_mr_task_has_no_phantoms(tmp_path: Path) -> None:
    task = task_file(tmp_path, "data.modality=MR")
    with pytest.raises(SettingsError, match="no 2D phantoms of MR.*give --public"):
        make(task, tmp_path / "w.safetensors", **SHORT)


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make(task_file(tmp_path), tmp_path / "w.safetensors", **PUBLIC, folder=tmp_path / "no")
