"""The clipped sum of patients' gradients, against slower ways to the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from torch import nn

from fedrad.models.networks import build
from fedrad.task import Task
from site_client.training.gradients import GradientSum, clipped_sum, plain_sum
from site_client.training.losses import Loss, cross_entropy, dice
from site_client.training.source import PatientImages, Record, stack_images, stack_truth

Draw = Callable[..., list[PatientImages]]
FIXTURES_STAY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def one_by_one(
    module: nn.Module, patients: list[Record], max_norm: float, loss: Loss = cross_entropy
) -> dict[str, torch.Tensor]:
    """The oracle: one ordinary backward pass per patient."""
    total = {name: torch.zeros_like(tensor) for name, tensor in module.named_parameters()}
    for patient in patients:
        module.zero_grad()
        loss(module(stack_images([patient])), stack_truth([patient])).mean().backward()
        gradients = {name: tensor.grad for name, tensor in module.named_parameters()}
        norm = torch.sqrt(sum((g**2).sum() for g in gradients.values() if g is not None))
        for name, gradient in gradients.items():
            if gradient is not None:
                total[name] += gradient * min(1.0, max_norm / float(norm))
    module.zero_grad()
    return total


def norm_of(total: dict[str, torch.Tensor]) -> float:
    """The joint norm in float64."""
    return float(torch.sqrt(sum(tensor.double().square().sum() for tensor in total.values())))


def moved(left: GradientSum, right: GradientSum) -> float:
    """How far apart two sums are."""
    return norm_of({name: left.total[name].double() - right.total[name] for name in left.total})


@given(counts=st.lists(st.integers(1, 5), max_size=8), max_norm=st.floats(1e-3, 10))
@FIXTURES_STAY
def test_the_sum_is_that_of_one_backward_pass_per_patient(
    head: nn.Module, feature_patients: Draw, counts: list[int], max_norm: float
) -> None:
    patients = feature_patients(counts)
    found = clipped_sum(head, patients, cross_entropy, max_norm=max_norm)
    expected = one_by_one(head, patients, max_norm)
    assert list(found.total) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found.total[name], tensor, atol=2e-5, rtol=1e-4)


def test_opacus_finds_the_same_gradients(head: nn.Module, feature_patients: Draw) -> None:
    patients = feature_patients([1] * 6)
    wrapped = GradSampleModule(head)
    cross_entropy(wrapped(stack_images(patients)), stack_truth(patients)).sum().backward()
    rows = {name: tensor.grad_sample for name, tensor in head.named_parameters()}
    norms = torch.stack([row.flatten(1).square().sum(1) for row in rows.values()]).sum(0).sqrt()
    expected = {
        name: torch.tensordot((0.5 / norms).clamp(max=1), row, 1) for name, row in rows.items()
    }
    wrapped.remove_hooks()
    found = clipped_sum(head, patients, cross_entropy, max_norm=0.5).total
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("densenet121", (32, 32), {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}),
        ("resnet18", (32, 32), {"widen_factor": 0.125}),
        ("unet", (16, 16), {"channels": [4, 8]}),
        ("unet", (8, 8, 8), {"channels": [4, 8], "norm": "group"}),
        ("filter_bank_pixel", (16, 16), {}),
    ],
)
def test_every_network_has_exact_gradients_per_patient(
    task_with: Callable[..., Task], name: str, size: tuple[int, ...], parameters: dict[str, object]
) -> None:
    dense = name in ("unet", "filter_bank_pixel")
    kind = "segmentation" if dense else "classification"
    module = build(task_with(name, kind=kind, size=size, parameters=parameters), seed=1)
    rng = np.random.default_rng(1)
    patients = []
    for index, count in enumerate((1, 2, 1)):
        images = rng.random((count, 1, *size), dtype=np.float32)
        masks = (images > 0.5).astype(np.uint8) if dense else None
        patients.append(PatientImages(f"p{index}", images, index % 2, masks))
    loss = dice if dense else cross_entropy
    found = clipped_sum(module, patients, loss, max_norm=0.1).total
    for tensor_name, tensor in one_by_one(module, patients, 0.1, loss).items():
        torch.testing.assert_close(found[tensor_name], tensor, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 50])
@given(max_norm=st.floats(1e-3, 5), scale=st.floats(0.1, 1e3))
@FIXTURES_STAY
def test_removing_a_patient_moves_the_sum_by_at_most_the_bound(
    head: nn.Module, feature_patients: Draw, count: int, max_norm: float, scale: float
) -> None:
    """The privacy accounting rests on this: 1 image or 50, one patient is one unit."""
    patients = feature_patients([2, count, 1, 3], scale=scale)
    every = clipped_sum(head, patients, cross_entropy, max_norm=max_norm)
    without = clipped_sum(head, patients[:1] + patients[2:], cross_entropy, max_norm=max_norm)
    assert moved(every, without) <= max_norm * (1 + 1e-4) + 1e-6


@given(max_norm=st.floats(1e-4, 10), scale=st.floats(0.1, 1e3))
@FIXTURES_STAY
def test_one_patients_gradient_is_within_the_bound(
    head: nn.Module, feature_patients: Draw, max_norm: float, scale: float
) -> None:
    for patient in feature_patients([1, 7], scale=scale):
        found = clipped_sum(head, [patient], cross_entropy, max_norm=max_norm)
        assert norm_of(found.total) <= max_norm * (1 + 1e-5)


@given(order=st.permutations(range(6)))
@FIXTURES_STAY
def test_the_order_of_the_patients_changes_no_bit(
    head: nn.Module, feature_patients: Draw, order: list[int]
) -> None:
    patients = feature_patients([1, 2, 1, 3, 2, 1])
    straight = clipped_sum(head, patients, cross_entropy, max_norm=1.0)
    mixed = clipped_sum(head, [patients[i] for i in order], cross_entropy, max_norm=1.0)
    assert all(torch.equal(straight.total[name], mixed.total[name]) for name in straight.total)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_patient_that_is_not_finite_adds_nothing_and_is_counted(
    head: nn.Module, feature_patients: Draw, value: float
) -> None:
    patients = feature_patients([1, 2, 1])
    patients[1].images[1, 0, 2, 2] = value
    for found, expected in (
        (
            clipped_sum(head, patients, cross_entropy, max_norm=1.0),
            clipped_sum(head, patients[::2], cross_entropy, max_norm=1.0),
        ),
        (
            plain_sum(head, patients, cross_entropy),
            plain_sum(head, patients[::2], cross_entropy),
        ),
    ):
        assert (found.skipped, expected.skipped) == (1, 0)
        assert moved(found, expected) < 1e-6


def test_the_plain_sum_is_the_clipped_sum_with_a_bound_out_of_reach(
    head: nn.Module, feature_patients: Draw
) -> None:
    patients = feature_patients([1, 4, 2, 1])
    plain = plain_sum(head, patients, cross_entropy)
    assert moved(plain, clipped_sum(head, patients, cross_entropy, max_norm=1e9)) < 1e-4
    assert norm_of(plain.total) > 0.01


def test_nobody_gives_zero(head: nn.Module) -> None:
    for found in (clipped_sum(head, [], cross_entropy, max_norm=1.0), plain_sum(head, [], dice)):
        assert found.skipped == 0
        assert norm_of(found.total) == 0.0
        assert set(found.total) == {name for name, _ in head.named_parameters()}


def test_frozen_tensors_have_no_gradient(head: nn.Module, feature_patients: Draw) -> None:
    head[0].requires_grad_(False)
    patients = feature_patients([1, 2])
    found = clipped_sum(head, patients, cross_entropy, max_norm=1.0)
    assert not any(name.startswith("0.") for name in found.total)
    assert set(found.total) == set(plain_sum(head, patients, cross_entropy).total)
