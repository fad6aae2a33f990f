"""A score is the network's, its Grad-CAM is the formula's, and the page says what it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_run import picture
from tiny_study import tiny_task
from torch import nn

from fedrad.errors import DataError, SettingsError
from fedrad.models.networks import build, seen_part
from fedrad.released import Released
from site_client.images import read_image
from site_client.predict.run import Predicted
from site_client.predict.saliency import saliency
from site_client.preprocess import prepare_image

Run = Callable[[Path, Released], Predicted]


@pytest.fixture
def model(released: Callable[..., Released]) -> Released:
    """A model that scores radiographs."""
    return released()


@pytest.fixture
def study(site: Any, write_image: Any) -> Path:
    """Two radiographs of one study, and a file that is no image."""
    for number in (1, 2):
        file = write_image(picture(number), "P1", StudyInstanceUID="1.2.3")
        site.add(file, f"study/{number}.dcm")
    (site.archive / "study" / "notes.txt").write_text("Ada Byron")
    return site.archive / "study"


def test_a_study_has_the_mean_of_its_images(study: Path, model: Released, run: Run) -> None:
    result = run(study, model).result
    single = []
    for name in ("1.dcm", "2.dcm"):
        image = read_image(study / name)
        prepared = torch.from_numpy(prepare_image(image.pixels, image.spacing_mm, model.task))
        with torch.no_grad():
            single.append(float(model.network()(prepared[None]).softmax(1)[0, 1]))
    assert [one.probability for one in result.images] == pytest.approx(single)
    assert result.probability == pytest.approx(np.mean(single))
    assert result.refused == (("notes.txt", "not-dicom"),)


def test_the_json_says_what_led_to_the_score(study: Path, model: Released, run: Run) -> None:
    found = json.loads((run(study, model).folder / "result.json").read_text())
    assert found["use"] == "RESEARCH - NOT FOR CLINICAL USE"
    assert found["content_qualification"] == "RESEARCH"
    assert found["study_instance_uid"] == "1.2.3"
    assert found["model"]["model_digest"] == model.about.model_digest
    assert found["called_positive"] == (found["probability"] >= 0.5)


def test_the_page_shows_no_name_and_loads_nothing(study: Path, model: Released, run: Run) -> None:
    page = (run(study, model).folder / "prediction.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "RESEARCH - NOT FOR CLINICAL USE" in page
    assert "http" not in page.replace("http-equiv", "")
    assert not [name for name in ("Nobody", "1.2.3", "P1<", "Byron") if name in page]


def test_grad_cam_is_the_formula() -> None:
    """Selvaraju et al. 2017, eq. 1 and 2, with torch alone."""
    task = tiny_task()
    network = build(task, seed=4).eval()
    image = prepare_image(picture().astype(np.float32) / 4095, (), task)
    head = network.head
    maps = head[:3](network.stem(torch.from_numpy(image)[None])).detach().requires_grad_(True)
    head[3:](maps)[0, 1].backward()
    weights = maps.grad.mean((2, 3), keepdim=True)
    coarse = torch.relu((weights * maps).sum(1, keepdim=True))
    wanted = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")[0, 0].detach()
    found = saliency(network, image, task)
    assert found.max() == 1
    assert np.allclose(found, wanted / wanted.max(), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [("model.name=resnet18", "model.parameters={widen_factor=0.125}"),
     ("model.name=densenet121",
      "model.parameters={init_features=8, growth_rate=4, block_config=[2, 2]}")],
)  # fmt: skip
def test_every_classifier_has_a_layer_to_look_at(settings: tuple[str, ...]) -> None:
    """The network is as before afterwards."""
    task = tiny_task(*settings)
    network = build(task, seed=1).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = saliency(network, np.random.default_rng(1).random((1, 32, 32), np.float32), task)
    assert network.get_submodule(seen_part(task)) is not None
    assert found.shape == (32, 32)
    assert 0 <= found.min() <= found.max() <= 1
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_two_studies_in_one_folder_are_refused(
    study: Path, model: Released, run: Run, site: Any, write_image: Any
) -> None:
    site.add(write_image(picture(3), "P2"), "study/3.dcm")
    with pytest.raises(DataError, match="2 studies"):
        run(study, model)


def test_a_study_without_a_fitting_image_says_why(
    site: Any, write_image: Any, model: Released, run: Run
) -> None:
    site.add(write_image(picture(), "P1", Modality="MG"), "study/1.dcm")
    with pytest.raises(DataError, match="1 wrong-modality"):
        run(site.archive / "study", model)


def test_an_earlier_prediction_is_not_written_over(study: Path, model: Released, run: Run) -> None:
    run(study, model)
    with pytest.raises(SettingsError, match="not empty"):
        run(study, model)
