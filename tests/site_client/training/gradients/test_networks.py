"""The sum of patients' clipped gradients of whole networks, against one image at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks import nets
from opacus import GradSampleModule
from torch import nn

from fedrad.models.layers import replace_batch_norm
from fedrad.models.networks import build
from fedrad.task import Task
from site_client.training.gradients.clipped import clipped_sum
from site_client.training.gradients.inspection import refuse_unfit
from site_client.training.losses import Loss, cross_entropy, dice
from site_client.training.source import PatientImages, Record, stack_images, stack_truth
from tests.site_client.training.gradients.oracles import apart, one_by_one

Shape = tuple[int, ...]


def patients_of(counts: list[int], size: Shape, *, masked: bool) -> list[Record]:
    """Draw patients with so many images each; masks are random."""
    rng = np.random.default_rng(7)
    drawn: list[Record] = []
    for index, count in enumerate(counts):
        images = rng.standard_normal((count, 1, *size)).astype(np.float32)
        masks = (images > 0.5).astype(np.uint8) if masked else None
        drawn.append(PatientImages(f"p{index}", images, None if masked else index % 2, masks))
    return drawn


def first_output(loss: Loss) -> Loss:
    """Some networks give a list of outputs."""

    def of_first(output: Any, truth: torch.Tensor) -> torch.Tensor:
        return loss(output[0] if isinstance(output, (list, tuple)) else output, truth)

    return of_first


CLASSIFIERS: dict[str, Callable[[int], nn.Module]] = {
    "DenseNet": lambda d: nets.DenseNet(
        d, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2
    ),
    "ResNet18": lambda d: nets.resnet18(
        spatial_dims=d, n_input_channels=1, num_classes=2, widen_factor=0.25
    ),
    "SEResNet50": lambda d: nets.SEResNet50(
        spatial_dims=d, in_channels=1, num_classes=2, layers=(1, 1, 1, 1)
    ),
    "EfficientNet": lambda d: nets.EfficientNetBN(
        "efficientnet-b0", spatial_dims=d, in_channels=1, num_classes=2, pretrained=False
    ),
}
SEGMENTERS: dict[str, Callable[[int], nn.Module]] = {
    "UNet, instance norm": lambda d: nets.UNet(
        d, 1, 2, (4, 8, 16), (2, 2), num_res_units=1, norm=("instance", {"affine": True})
    ),
    "UNet, group norm": lambda d: nets.UNet(d, 1, 2, (4, 8, 16), (2, 2), norm="batch"),
    "BasicUNet": lambda d: nets.BasicUNet(d, 1, 2, features=(4, 4, 8, 8, 8, 4)),
    "DynUNet": lambda d: nets.DynUNet(
        d, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], res_block=True
    ),
    "SegResNet": lambda d: nets.SegResNet(
        spatial_dims=d, init_filters=8, in_channels=1, out_channels=2
    ),
    "AttentionUnet": lambda d: nets.AttentionUnet(d, 1, 2, (4, 8, 16), (2, 2)),
    "UNet++": lambda d: nets.BasicUNetPlusPlus(d, 1, 2, features=(2, 2, 2, 4, 4, 2)),
}


def refuse_inaccurate(module: nn.Module, dimensions: int, loss: Loss, *, masked: bool) -> None:
    """Fail unless records and patients have the gradients of the slow way."""
    module = replace_batch_norm(module, 4).eval()
    size = (32,) * dimensions
    for counts in ([1, 1, 1], [1, 2]):
        patients = patients_of(counts, size, masked=masked)
        found = clipped_sum(module, patients, loss, max_norm=0.05)
        assert found.skipped == 0
        error = apart(found.total, one_by_one(module, patients, loss, 0.05))
        logging.info("%s %dD, images %s: %.1e", type(module).__name__, dimensions, counts, error)
        assert error < 1e-3


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_exact_gradients(name: str, dimensions: int) -> None:
    torch.manual_seed(0)
    module = CLASSIFIERS[name](dimensions)
    refuse_inaccurate(module, dimensions, cross_entropy, masked=False)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmentation_network_has_exact_gradients(name: str, dimensions: int) -> None:
    torch.manual_seed(0)
    module = SEGMENTERS[name](dimensions)
    refuse_inaccurate(module, dimensions, first_output(dice), masked=True)


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("densenet121", (32, 32), {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}),
        ("resnet18", (32, 32), {"widen_factor": 0.125}),
        ("unet", (16, 16), {"channels": [4, 8]}),
        ("unet", (8, 8, 8), {"channels": [4, 8], "norm": "group"}),
        ("filter_bank_cnn", (32, 32), {}),
        ("filter_bank_pixel", (16, 16), {}),
    ],
)
def test_every_network_that_a_task_can_name_passes_inspection(
    task_with: Callable[..., Task], name: str, size: Shape, parameters: dict[str, object]
) -> None:
    dense = name in ("unet", "filter_bank_pixel")
    kind = "segmentation" if dense else "classification"
    module = build(task_with(name, kind=kind, size=size, parameters=parameters), seed=1)
    patients = patients_of([1, 2], size, masked=dense)
    loss = dice if dense else cross_entropy
    refuse_unfit(module, loss, patients[0])
    found = clipped_sum(module, patients, loss, max_norm=0.1).total
    assert apart(found, one_by_one(module, patients, loss, 0.1)) < 1e-3


def test_opacus_finds_the_same_gradients_of_a_unet() -> None:
    torch.manual_seed(0)
    module = SEGMENTERS["UNet, group norm"](2)
    replace_batch_norm(module, 4)
    patients = patients_of([1] * 4, (32, 32), masked=True)
    found = clipped_sum(module, patients, dice, max_norm=0.02).total
    wrapped = GradSampleModule(module)
    dice(wrapped(stack_images(patients)), stack_truth(patients)).sum().backward()
    rows = {name: tensor.grad_sample for name, tensor in module.named_parameters()}
    norms = torch.stack([row.flatten(1).square().sum(1) for row in rows.values()]).sum(0).sqrt()
    factors = (0.02 / norms).clamp(max=1)
    expected = {name: torch.tensordot(factors, row, 1) for name, row in rows.items()}
    wrapped.remove_hooks()
    assert apart(found, expected) < 1e-3
