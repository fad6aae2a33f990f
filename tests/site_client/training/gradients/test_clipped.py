"""The clipped sum of patients' gradients, against slower ways to the same numbers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from torch import nn

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
    assert moved(found, GradientSum(expected, 0)) <= 1e-4 * max_norm * len(counts) + 1e-6


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


def test_a_patient_with_a_pixel_that_is_not_finite_is_left_out_even_if_no_gradient_shows_it(
    feature_patients: Draw,
) -> None:
    blind = nn.Sequential(nn.MaxPool2d(6), nn.Flatten(), nn.Linear(3, 2))
    patients = feature_patients([1, 1])
    patients[1].images[0, 0, 2, 2] = -np.inf
    found = clipped_sum(blind, patients, cross_entropy, max_norm=1.0)
    assert found.skipped == 1
    assert moved(found, clipped_sum(blind, patients[:1], cross_entropy, max_norm=1.0)) < 1e-6


def test_a_gradient_too_large_to_be_scaled_exactly_is_left_out(feature_patients: Draw) -> None:
    steep = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    patients = feature_patients([1, 1])
    patients[1].images[:] = 1e35
    found = clipped_sum(steep, patients, lambda logits, _: logits[:, 0], max_norm=1.0)
    assert found.skipped == 1
    assert norm_of(found.total) <= 1.0


def test_a_batch_that_does_not_fit_at_once_gives_the_same_sum(
    head: nn.Module, feature_patients: Draw
) -> None:
    patients = feature_patients([3] * 50)
    parts = [clipped_sum(head, [patient], cross_entropy, max_norm=0.2) for patient in patients]
    total = {name: sum(part.total[name] for part in parts) for name in parts[0].total}
    found = clipped_sum(head, patients, cross_entropy, max_norm=0.2)
    assert moved(found, GradientSum(total, 0)) < 1e-4


def test_signals_in_bfloat16_keep_the_bound_and_the_direction(
    head: nn.Module, feature_patients: Draw
) -> None:
    patients = feature_patients([1, 2, 1], scale=3.0)
    low, high = (
        clipped_sum(head, patients, cross_entropy, max_norm=0.5, precision=precision)
        for precision in (torch.bfloat16, torch.float32)
    )
    assert 0 < moved(low, high) < 0.1
    for patient in patients:
        one = clipped_sum(head, [patient], cross_entropy, max_norm=0.05, precision=torch.bfloat16)
        assert norm_of(one.total) <= 0.05


def test_the_networks_weights_and_flags_stay_as_they_were(
    head: nn.Module, feature_patients: Draw
) -> None:
    head[1].requires_grad_(False)
    before = {name: (t.clone(), t.requires_grad) for name, t in head.named_parameters()}
    clipped_sum(head, feature_patients([1, 2]), cross_entropy, max_norm=1.0)
    for name, tensor in head.named_parameters():
        assert torch.equal(tensor, before[name][0])
        assert tensor.requires_grad == before[name][1]
        assert tensor.grad is None
    assert not any(child._forward_hooks for child in head.modules())


def test_nothing_of_a_pass_is_kept_when_it_is_over(head: nn.Module, feature_patients: Draw) -> None:
    """A circle between a signal and its hook would keep every batch in memory."""
    signals: list[weakref.ref[torch.Tensor]] = []
    for layer in head:
        layer.register_forward_hook(lambda _, __, output: signals.append(weakref.ref(output)))
    gc.disable()
    try:
        clipped_sum(head, feature_patients([1, 2, 1]), cross_entropy, max_norm=1.0)
        assert len(signals) == len(list(head))
        assert [signal() for signal in signals] == [None] * len(signals)
    finally:
        gc.enable()
