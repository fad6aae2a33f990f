"""Which parameters move, network by network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from fedrad.errors import ModelError
from fedrad.model_choice import Trained
from fedrad.models.networks import build, known_networks, last_part
from fedrad.parameters import digest, frozen, trainable, whole
from fedrad.provenance import Provenance
from fedrad.task import Task

MakeTask = Callable[..., Task]
KNOWN = Provenance(source="s", data="d", licence="l", digest="a" * 64)
DENSE = {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}
CASES = [
    ("densenet121", "classification", DENSE, {"class_layers.out.weight", "class_layers.out.bias"}),
    ("resnet18", "classification", {"widen_factor": 0.125}, {"fc.weight", "fc.bias"}),
    ("filter_bank_cnn", "classification", {}, {"head.4.weight", "head.4.bias"}),
    ("filter_bank_pixel", "segmentation", {}, {"head.4.weight", "head.4.bias"}),
]


def freezing(task: Task, trained: Trained) -> Task:
    model = replace(task.model, initial="w.safetensors", provenance=KNOWN, trained=trained)
    return replace(task, model=model)


@pytest.mark.parametrize(("name", "kind", "parameters", "last"), CASES)
def test_the_last_part_alone_is_trained(
    task_with: MakeTask, name: str, kind: str, parameters: dict[str, object], last: set[str]
) -> None:
    task = freezing(task_with(name, kind=kind, **parameters), "last")
    assert set(trainable(build(task, seed=1))) == last


def test_the_last_part_of_a_u_net_is_its_highest_level_on_the_way_up(task_with: MakeTask) -> None:
    task = task_with("unet", kind="segmentation", channels=[4, 8, 8], norm="group")
    module = build(freezing(task, "last"), seed=1)
    assert {name.split(".")[1] for name in trainable(module)} == {"2"}
    assert len(frozen(module)) > len(trainable(module)) > 0


@pytest.mark.parametrize(("name", "norms"), [("densenet121", 2 * 7), ("resnet18", 2 * 20)])
def test_norm_and_last_adds_scale_and_offset_of_every_norm(
    task_with: MakeTask, name: str, norms: int
) -> None:
    parameters = dict(next(case[2] for case in CASES if case[0] == name))
    module = build(freezing(task_with(name, **parameters), "norm+last"), seed=1)
    moving = trainable(module)
    scales = [name for name, tensor in moving.items() if tensor.ndim == 1]
    assert len(scales) == norms + 1  # and the bias of the last layer
    assert sum(tensor.ndim > 1 for tensor in moving.values()) == 1


@pytest.mark.parametrize("trained", ["all", "norm+last", "last"])
def test_trained_and_frozen_are_the_whole_and_freezing_changes_no_weight(
    task_with: MakeTask, trained: Trained
) -> None:
    task = task_with("resnet18", widen_factor=0.125)
    free, module = build(task, seed=1), build(freezing(task, trained), seed=1)
    parts = trainable(module) | frozen(module)
    assert digest({name: parts[name] for name in whole(free)}) == digest(whole(module))
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(free(images), module(images))
    assert (trained == "all") == (not frozen(module))


def test_norm_and_last_of_a_network_without_norms_is_refused(task_with: MakeTask) -> None:
    task = freezing(task_with("filter_bank_pixel", kind="segmentation"), "norm+last")
    with pytest.raises(ModelError, match=r"no trained normalisation.*use trained = 'last'"):
        build(task, seed=1)


@pytest.mark.parametrize("name", known_networks())
def test_every_network_names_a_last_part_that_it_has(task_with: MakeTask, name: str) -> None:
    kind = "segmentation" if name in ("unet", "filter_bank_pixel") else "classification"
    task = task_with(name, kind=kind)
    assert list(build(task, seed=0).get_submodule(last_part(task)).parameters())
