"""A round and its scores on another processor than the CPU: pretended, or a GPU that is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from fedrad.models.layers import replace_batch_norm
from fedrad.models.networks import build
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task
from site_client.device import device_of
from site_client.training.gradients.clipped import ROUNDING_OF_A_GPU, clipped_sum
from site_client.training.gradients.inspection import refuse_unfit
from site_client.training.gradients.plain import plain_sum
from site_client.training.gradients.sums import GradientSum
from site_client.training.loop import StepPlan, train_round
from site_client.training.losses import cross_entropy, dice
from site_client.training.predict import case_dice, scores
from site_client.training.private import noised_mean
from tests.site_client.training.gradients.test_networks import (
    CLASSIFIERS,
    SEGMENTERS,
    first_output,
    patients_of,
)
from tests.site_client.training.pretended import Far, Pretended, moved

MakeTask = Callable[..., Task]
SUMS = {"private": lambda *given: clipped_sum(*given, max_norm=0.5), "plain": plain_sum}


def network(name: str) -> nn.Module:
    torch.manual_seed(3)
    return replace_batch_norm({**CLASSIFIERS, **SEGMENTERS}[name](2), 4).eval()


def summed(module: nn.Module, name: str, way: str) -> GradientSum:
    masked = name in SEGMENTERS
    patients = patients_of([1, 2, 1], (32, 32), masked=masked)
    return SUMS[way](module, patients, first_output(dice) if masked else cross_entropy)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "private") for name in (*CLASSIFIERS, *SEGMENTERS)),
        *((name, "plain") for name in ("ResNet18", "BasicUNet")),
    ],
)
def test_gradients_stay_on_their_processor_and_are_those_of_the_cpu(name: str, way: str) -> None:
    module = network(name)
    expected = summed(module, name, way).total
    with Pretended():
        found = summed(moved(module), name, way).total
    for key, tensor in expected.items():
        assert isinstance(found[key], Far)
        torch.testing.assert_close(found[key].near, tensor, rtol=2e-3, atol=1e-5)


def test_the_bound_holds_with_more_room_than_on_the_cpu() -> None:
    module, patients = network("ResNet18"), patients_of([2], (32, 32), masked=False)
    with Pretended():
        total = clipped_sum(moved(module), patients, cross_entropy, max_norm=0.01).total
    norm = sum(float(tensor.near.double().square().sum()) for tensor in total.values()) ** 0.5
    assert norm == pytest.approx(0.01 * ROUNDING_OF_A_GPU, rel=1e-5)


def test_noise_is_drawn_here_and_no_exact_sum_outlives_it_there() -> None:
    sums = torch.linspace(-1, 1, 2000)
    there = GradientSum({"a": Far(sums.clone())}, 0)
    here = noised_mean(GradientSum({"a": sums}, 0), rng(), std=0.5, divisor=2.0)
    with Pretended():
        noised = noised_mean(there, rng(), std=0.5, divisor=2.0)
    assert torch.equal(noised["a"].near, here["a"])
    assert there.total["a"].near is noised["a"].near


def rng() -> np.random.Generator:
    return noise_source(bytes(range(32)))


def test_a_network_is_inspected_on_the_processor_that_trains_it() -> None:
    module = network("DenseNet")
    record = patients_of([1], (32, 32), masked=False)[0]
    with Pretended():
        refuse_unfit(moved(module), cross_entropy, record)


def plan() -> StepPlan:
    return StepPlan(
        q=0.5,
        sigma=1.0,
        steps=2,
        expected_batch_patients=4.0,
        max_grad_norm=1.0,
        batches=np.random.default_rng(7),
        noise=rng(),
    )


def test_a_round_and_its_scores_are_those_of_the_cpu(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task, patients = task_with(), blob_patients(8)
    here, there = build(task, seed=1), build(task, seed=1)
    expected = train_round(here, patients, task, plan=plan()).update
    with Pretended():
        found = train_round(moved(there), patients, task, plan=plan()).update
        seen = scores(there, patients)
    for key, tensor in expected.items():
        np.testing.assert_allclose(found[key], tensor, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(seen, scores(here, patients), atol=1e-3)


def test_cases_are_scored_there() -> None:
    module = network("UNet, group norm")
    patients = patients_of([1, 2], (32, 32), masked=True)
    expected = case_dice(module, Listed(patients))
    with Pretended():
        found = case_dice(moved(module), Listed(patients))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_array_equal(found[1], expected[1])


class Listed(list):
    """A source of patients."""

    def record(self, index: int, /) -> object:
        return self[index]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_round_on_a_gpu_is_that_of_the_cpu(task_with: MakeTask, blob_patients: Callable) -> None:
    task, patients, updates = task_with(), blob_patients(8), []
    for name in ("cpu", "cuda"):
        module = build(task, seed=1).to(device_of(name))
        updates.append(train_round(module, patients, task, plan=plan()).update)
    for key, tensor in updates[0].items():
        np.testing.assert_allclose(updates[1][key], tensor, rtol=1e-2, atol=1e-4)
