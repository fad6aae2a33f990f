"""Every form of a model says what the original says, and a form that does not is not written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_run import PIXELS, trained, write_model_run
from tiny_study import tiny_task

from aggregator.model_out.agreement import LIMIT, agree, drawn_images
from aggregator.model_out.folder import Wishes, write_model
from aggregator.model_out.graph import graph_of, read_graph, write_graph
from fedrad.errors import ModelError, RunError, SettingsError
from fedrad.progress import silent
from fedrad.released import read_released
from site_client.preprocess import prepare_image

TASK = tiny_task()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run in every form."""
    folder = tmp_path_factory.mktemp("forms")
    run = write_model_run(folder / "run", promoted=[1])
    write_model(run, folder / "model", Wishes(monai=True, onnx=True), key=None, say=silent)
    return folder / "model"


def test_the_promoted_model_leaves_and_not_the_last(everything: Path) -> None:
    released = read_released(everything)
    assert (released.about.round, released.about.decision) == (1, "promoted")
    images = torch.from_numpy(drawn_images(TASK, 4))
    with torch.no_grad():
        assert torch.equal(released.network()(images), trained(TASK, 1)(images))


def test_of_two_promoted_models_the_one_promoted_last_leaves(tmp_path: Path) -> None:
    """A person went back to the older one: it is in use, and watched."""
    run = write_model_run(tmp_path / "run", promoted=[2, 1])
    about = write_model(run, tmp_path / "out", Wishes(), key=None, say=silent).about
    assert (about.round, about.decision) == (1, "promoted")


def test_without_a_promotion_the_last_model_leaves_and_says_so(tmp_path: Path) -> None:
    run = write_model_run(tmp_path / "run")
    about = write_model(run, tmp_path / "out", Wishes(), key=None, say=silent).about
    assert (about.round, about.decision) == (2, "not promoted")


def test_a_round_that_made_no_model_gives_none(tmp_path: Path) -> None:
    run = write_model_run(tmp_path / "run")
    with pytest.raises(RunError, match="these did: 1, 2"):
        write_model(run, tmp_path / "out", Wishes(round=7), key=None, say=silent)


def test_another_folder_is_not_written_into(tmp_path: Path) -> None:
    run = write_model_run(tmp_path / "run")
    with pytest.raises(SettingsError, match="something else"):
        write_model(run, tmp_path, Wishes(), key=None, say=silent)


def test_both_forms_were_compared_on_a_hundred_images(everything: Path) -> None:
    forms = json.loads((everything / "agreement.json").read_text())["forms"]
    assert [form["form"] for form in forms] == ["MONAI bundle", "ONNX file"]
    assert all(form["images"] == 100 and form["largest"] <= LIMIT for form in forms)


def test_a_form_that_differs_is_refused() -> None:
    network = trained(TASK, 1)
    other = trained(TASK, 2)

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return other(torch.from_numpy(images)).numpy()

    with pytest.raises(ModelError, match="differs from the original"):
        agree("other", network, predict, drawn_images(TASK, 5))


def test_the_onnx_file_says_what_it_is(everything: Path) -> None:
    model = onnx.load(everything / "model.onnx")
    onnx.checker.check_model(model)
    said = {one.key: one.value for one in model.metadata_props}
    assert said["use"] == "RESEARCH - NOT FOR CLINICAL USE"
    assert said["model_digest"] == read_released(everything).about.model_digest
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [one.dim_param or one.dim_value for one in shape] == ["images", 1, 32, 32]


def test_monai_runs_the_bundle_from_grey_values(everything: Path, tmp_path: Path) -> None:
    """The recipe too: images of other sizes than the network's."""
    rng = np.random.default_rng(1)
    images = [rng.random(shape, np.float32) for shape in ((64, 48), (20, 28), (32, 32))]
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images):
        np.save(tmp_path / "in" / f"{number}.npy", image)
    line = ["-m", "monai.bundle", "run", "--config_file", "configs/inference.json",
            "--meta_file", "configs/metadata.json",
            "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]  # fmt: skip
    quiet = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, *line], cwd=everything / "monai", check=True, env=quiet,
                   capture_output=True)  # fmt: skip
    network = trained(TASK, 1)
    for number, image in enumerate(images):
        prepared = torch.from_numpy(prepare_image(image, (), TASK))[None]
        with torch.no_grad():
            wanted = network(prepared).softmax(1)[0].numpy()
        found = np.load(tmp_path / "out" / f"{number}.npy")
        assert np.abs(found - wanted).max() <= LIMIT
    assert (tmp_path / "out" / "predictions.csv").read_text().startswith("image,normal,nodule")


def test_a_segmentation_is_traced_for_any_number_of_images(tmp_path: Path) -> None:
    task = tiny_task(*PIXELS)
    network = trained(task, 1)
    write_graph(tmp_path / "model.pt2", graph_of(network, task))
    found = agree("graph", network, read_graph(tmp_path / "model.pt2"), drawn_images(task, 13))
    assert found.largest <= LIMIT
