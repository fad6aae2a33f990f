"""Networks as a task names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fedrad.errors import ModelError, SettingsError
from fedrad.models.layers import refuse_batch_coupling
from fedrad.models.networks import build, known_networks
from fedrad.parameters import load_trainable, trainable
from fedrad.task import Task

MakeTask = Callable[..., Task]
SMALL_DENSE = {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}
CASES = [
    ("densenet121", "classification", (32, 32), SMALL_DENSE),
    ("densenet121", "classification", (16, 16, 16), SMALL_DENSE),
    ("resnet18", "classification", (32, 32), {"widen_factor": 0.125}),
    ("resnet18", "classification", (16, 32, 32), {"widen_factor": 0.125}),
    ("unet", "segmentation", (16, 24), {"channels": [4, 8, 8]}),
    ("unet", "segmentation", (16, 24), {"channels": [4, 8, 8], "norm": "group"}),
    ("unet", "segmentation", (8, 16, 16), {"channels": [4, 8], "residual_units": 0}),
    ("filter_bank_cnn", "classification", (32, 32), {}),
    ("filter_bank_cnn", "classification", (32, 48), {"pool": "grid", "shrink": 2}),
    ("filter_bank_pixel", "segmentation", (16, 24), {}),
]


@pytest.mark.parametrize(("name", "kind", "size", "parameters"), CASES)
def test_every_network_gives_two_logits_and_keeps_records_apart(
    task_with: MakeTask, name: str, kind: str, size: tuple[int, ...], parameters: dict[str, object]
) -> None:
    module = build(task_with(name, kind=kind, size=size, **parameters), seed=1)
    refuse_batch_coupling(module)
    images = torch.randn(3, 1, *size, generator=torch.Generator().manual_seed(1))
    logits = module(images)
    assert logits.shape == ((3, 2) if kind == "classification" else (3, 2, *size))
    others = torch.cat([images[:1], torch.zeros_like(images[1:])])
    torch.testing.assert_close(module(others)[0], logits[0], atol=1e-5, rtol=1e-4)


def test_the_full_networks_have_their_published_size(task_with: MakeTask) -> None:
    dense = build(task_with("densenet121"), seed=0)
    residual = build(task_with("resnet18"), seed=0)
    assert sum(t.numel() for t in dense.parameters()) == 6_949_634  # 6.95 million, one channel in
    assert sum(t.numel() for t in residual.parameters()) == 11_172_162  # 11.2 million


@pytest.mark.parametrize(
    ("parameters", "count"), [({}, 2385), ({"pool": "grid"}, 2609), ({"width": 8}, 1193)]
)
def test_the_filter_bank_cnn_trains_few_parameters(
    task_with: MakeTask, parameters: dict[str, object], count: int
) -> None:
    module = build(task_with("filter_bank_cnn", **parameters), seed=0)
    assert sum(tensor.size for tensor in trainable(module).values()) == count


def test_the_seed_fixes_every_bit_and_global_chance_is_left_alone(task_with: MakeTask) -> None:
    task = task_with("filter_bank_cnn")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (trainable(build(task, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("name", ["filter_bank_cnn", "unet"])
def test_only_trained_tensors_travel_and_carry_the_whole_model(
    task_with: MakeTask, name: str
) -> None:
    kind = "segmentation" if name == "unet" else "classification"
    sender, receiver = (build(task_with(name, kind=kind), seed=seed) for seed in (1, 2))
    names = set(trainable(sender))
    assert names.isdisjoint(dict(sender.named_buffers()))
    load_trainable(receiver, trainable(sender))
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(receiver(images), sender(images))


def test_an_unknown_name_or_parameter_lists_the_known_ones(task_with: MakeTask) -> None:
    with pytest.raises(SettingsError, match="did you mean resnet18"):
        build(task_with("resnet_18"), seed=0)
    with pytest.raises(SettingsError, match="known: " + ", ".join(known_networks())):
        build(task_with("transformer"), seed=0)
    with pytest.raises(SettingsError, match=r"model.parameters.shrinks .* did you mean shrink"):
        build(task_with("filter_bank_cnn", shrinks=2), seed=0)
    with pytest.raises(SettingsError, match="pool must be one of 'top', 'grid'"):
        build(task_with("filter_bank_cnn", pool="max"), seed=0)


@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("filter_bank_cnn", {"width": 6}, "multiple of 4"),
        ("filter_bank_cnn", {"shrink": 0}, "shrink, top, cells"),
        ("filter_bank_pixel", {"width": 0}, "width and shrink must be 1 or more"),
        ("unet", {"channels": [8]}, "two levels or more"),
        ("unet", {"residual_units": -1}, "residual_units"),
        ("densenet121", {"block_config": []}, "whole numbers of 1 or more"),
        ("resnet18", {"widen_factor": 0.001}, "widen_factor of 1/64 or more"),
    ],
)
def test_a_value_out_of_range_is_named(
    task_with: MakeTask, name: str, parameters: dict[str, object], line: str
) -> None:
    kind = "segmentation" if name in ("unet", "filter_bank_pixel") else "classification"
    with pytest.raises(SettingsError, match=line):
        build(task_with(name, kind=kind, **parameters), seed=0)


def test_a_network_that_does_not_fit_the_task_is_refused(task_with: MakeTask) -> None:
    with pytest.raises(ModelError, match=r"unet is for segmentation.*use densenet121"):
        build(task_with("unet"), seed=0)
    with pytest.raises(ModelError, match="reads 2D images"):
        build(task_with("filter_bank_cnn", size=(16, 16, 16)), seed=0)
    with pytest.raises(ModelError, match=r"divisible by 8, recipe.size is \[36, 32\]"):
        build(task_with("unet", kind="segmentation", size=(36, 32)), seed=0)
    with pytest.raises(ModelError, match="shrink 32 leaves"):
        build(task_with("filter_bank_cnn", shrink=32), seed=0)
