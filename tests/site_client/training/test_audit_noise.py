"""The audit of the noise passes the real code and finds every defect that is planted in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from noise_audit import audit_noise, audit_rounds
from torch import nn

from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task
from site_client.training import loop
from site_client.training.gradients import GradientSum, Tensors
from site_client.training.loop import StepPlan, train_round
from site_client.training.private import noised_mean
from site_client.training.source import PatientImages

STD, DIVISOR = 1.7, 12.0
real = partial(noised_mean, std=STD, divisor=DIVISOR)
FIXED = bytes(32)


def copied(clipped: GradientSum) -> Tensors:
    return {name: tensor.clone() for name, tensor in clipped.total.items()}


def halved(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    return noised_mean(clipped, rng, std=STD / 2, divisor=DIVISOR)


def two_percent_less(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    return noised_mean(clipped, rng, std=0.98 * STD, divisor=DIVISOR)


def divided_first(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    """The noise of a mean added to a sum: too small by the divisor."""
    return noised_mean(clipped, rng, std=STD / DIVISOR, divisor=DIVISOR)


def one_tensor_forgotten(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    exact = copied(clipped)
    return real(clipped, rng) | {"matrix": exact["matrix"] / DIVISOR}


def one_number_forgotten(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    exact = copied(clipped)
    return real(clipped, rng) | {"scale": exact["scale"] / DIVISOR}


def drawn_once_for_all_steps(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    return real(clipped, noise_source(FIXED))


def drawn_once_for_all_tensors(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    key, noised = rng.bytes(32), {}
    for name, tensor in clipped.total.items():
        noised |= real(GradientSum({name: tensor}, 0), noise_source(key))
    return noised


def taken_from_one_pool(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    """A long row of numbers, drawn once, and every step begins somewhere in it."""
    pool, noised = noise_source(FIXED).standard_normal(40_000), {}
    for name, tensor in clipped.total.items():
        start = int(rng.integers(0, len(pool) - tensor.numel()))
        noise = pool[start : start + tensor.numel()].reshape(tensor.shape)
        noised[name] = ((tensor + STD * torch.from_numpy(noise)) / DIVISOR).float()
    return noised


def half_of_it_twice(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    """Each number is used for two parameters of its tensor."""
    noised = {}
    for name, tensor in clipped.total.items():
        noise = np.resize(rng.standard_normal((tensor.numel() + 1) // 2), tensor.shape)
        noised[name] = ((tensor + STD * torch.from_numpy(noise)) / DIVISOR).float()
    return noised


def uniform_of_the_right_deviation(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    edge, noised = STD * np.sqrt(3), {}
    for name, tensor in clipped.total.items():
        noise = torch.from_numpy(rng.uniform(-edge, edge, tensor.shape))
        noised[name] = ((tensor + noise) / DIVISOR).float()
    return noised


def scaled_by_the_sum(clipped: GradientSum, rng: np.random.Generator) -> Tensors:
    """Noise in proportion to what it should hide."""
    exact = copied(clipped)
    noised = noised_mean(clipped, rng, std=STD, divisor=1.0)
    return {k: (exact[k] + (noised[k] - exact[k]) * exact[k].abs() / STD) / DIVISOR for k in exact}


def test_the_noise_of_the_real_step_has_nothing_wrong() -> None:
    assert audit_noise(real, std=STD, divisor=DIVISOR) == []


@pytest.mark.parametrize(
    ("defect", "sentence"),
    [
        (halved, "less noise than claimed in site A, round 1, step 1, kernel: 0.50"),
        (two_percent_less, "less noise than claimed in all of them together: 0.98"),
        (divided_first, "less noise than claimed"),
        (one_tensor_forgotten, "less noise than claimed in site A, round 1, step 1, matrix: 0.00"),
        (one_number_forgotten, "less noise than claimed in site A, round 1, step 1, scale: 0.00"),
        (drawn_once_for_all_steps, "step 1, kernel goes with that of site A, round 1, step 2"),
        (drawn_once_for_all_tensors, "step 1, kernel goes with that of site A, round 1, step 1"),
        (taken_from_one_pool, "goes with that of site B"),
        (half_of_it_twice, "step 1, last goes with that of site A, round 1, step 1, last"),
        (uniform_of_the_right_deviation, "not normal"),
        (scaled_by_the_sum, "not normal"),
    ],
)
def test_the_audit_finds_noise_that_was(defect: Callable, sentence: str) -> None:
    assert any(sentence in found for found in audit_noise(defect, std=STD, divisor=DIVISOR))


SIGMA, NORM, BATCH, ROUND_STEPS = 1.5, 0.8, 4.0, 3


class Nobody:
    """A source without patients: what a round moves is noise."""

    def __len__(self) -> int:
        return 0

    def record(self, index: int, /) -> PatientImages:
        raise IndexError(index)


def small_network() -> nn.Module:
    """Convolution, norm and a frozen layer between trained ones."""
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.GroupNorm(4, 16),
        nn.PReLU(),
        nn.Conv2d(16, 8, 1),
        nn.Flatten(),
        nn.Linear(8 * 36, 64),
        nn.Linear(64, 2),
    )
    module[3].requires_grad_(False)
    return module


def rounds_of(task: Task) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    """Return a round of plain SGD with rate 1 on nobody, so that the update is its noise."""

    def train(noise: np.random.Generator) -> dict[str, np.ndarray]:
        plan = StepPlan(
            q=0.5,
            sigma=SIGMA,
            steps=ROUND_STEPS,
            expected_batch_patients=BATCH,
            max_grad_norm=NORM,
            batches=np.random.default_rng(0),
            noise=noise,
        )
        return train_round(small_network(), Nobody(), task, plan=plan).update

    return train


@pytest.fixture
def audited(task_with: Callable[..., Task]) -> Callable[[], list[str]]:
    """Audit real rounds, whatever was planted in them."""
    task = task_with("unet", optimiser={"name": "sgd", "rate": 1.0})
    claimed = SIGMA * NORM / BATCH
    return lambda: audit_rounds(rounds_of(task), deviation=claimed, steps=ROUND_STEPS)


def test_the_noise_of_real_rounds_has_nothing_wrong(audited: Callable[[], list[str]]) -> None:
    assert audited() == []


def test_every_trained_tensor_of_a_round_is_noised(task_with: Callable[..., Task]) -> None:
    task = task_with("unet", optimiser={"name": "sgd", "rate": 1.0})
    update = rounds_of(task)(noise_source(FIXED))
    trained = [name for name, t in small_network().named_parameters() if t.requires_grad]
    assert list(update) == trained
    assert all(np.count_nonzero(value) > 0.9 * value.size for value in update.values())


@pytest.mark.parametrize(
    ("defect", "sentence"),
    [
        ("first step only", "less noise than claimed"),
        ("sigma alone", "more noise than claimed"),
        ("one draw for all steps", "more noise than claimed"),
        ("one key for all rounds", "goes with that of site B, round 1"),
    ],
)
def test_the_audit_finds_rounds_whose_noise_is(
    audited: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, defect: str, sentence: str
) -> None:
    calls: list[int] = []

    def planted(
        clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
    ) -> Tensors:
        calls.append(len(calls))
        if defect == "first step only" and len(calls) % ROUND_STEPS != 1:
            return {name: tensor / divisor for name, tensor in clipped.total.items()}
        if defect == "sigma alone":  # not times the norm that bounds a patient
            std = std / NORM
        if defect == "one draw for all steps":
            rng = noise_source(bytes([(len(calls) - 1) // ROUND_STEPS]) * 32)
        if defect == "one key for all rounds":
            rng = noise_source(bytes([len(calls) % ROUND_STEPS]) * 32)
        return noised_mean(clipped, rng, std=std, divisor=divisor)

    monkeypatch.setattr(loop, "noised_mean", planted)
    assert any(sentence in found for found in audited())
    assert len(calls) == 3 * ROUND_STEPS
