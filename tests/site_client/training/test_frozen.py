"""What is frozen is neither clipped nor noised, in networks with and without a fixed stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from tiny_study import tiny_task
from torch import nn

from fedrad.models.networks import build
from fedrad.parameters import frozen, joint_norm, trainable
from fedrad.privacy.mechanisms import noise_source
from fedrad.provenance import Provenance
from fedrad.task import Task
from site_client.training.loop import StepPlan, Trained, train_round
from site_client.training.source import PatientImages

KNOWN = Provenance(source="s", data="d", licence="l", digest="a" * 64)
NETWORKS = {
    "resnet18": {"widen_factor": 0.125},
    "densenet121": {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]},
    "filter_bank_cnn": {},
}
CASES = [(name, trained) for name in NETWORKS for trained in ("last", "norm+last")]
BOUND = 0.01


@dataclass(frozen=True)
class Patients:
    """Twelve patients with one or two random images."""

    records: Sequence[PatientImages]

    def __len__(self) -> int:
        return len(self.records)

    def record(self, index: int) -> PatientImages:
        return self.records[index]


def patients(count: int) -> Patients:
    rng = np.random.default_rng(1)
    drawn = (rng.random((1 + n % 2, 1, 32, 32), dtype=np.float32) for n in range(count))
    return Patients([PatientImages(f"p{n}", images, n % 2) for n, images in enumerate(drawn)])


def task_of(name: str, trained: str) -> Task:
    plain = tiny_task("training.optimiser={rate=1.0}")
    model = replace(
        plain.model,
        name=name,
        parameters=NETWORKS[name],
        initial="w.safetensors",
        provenance=KNOWN,
        trained=trained,  # type: ignore[arg-type]
    )
    return replace(plain, model=model)


def one_step(task: Task, count: int, *, sigma: float) -> tuple[nn.Module, Trained]:
    module = build(task, seed=1)
    plan = StepPlan(
        q=1.0,
        sigma=sigma,
        steps=1,
        expected_batch_patients=1.0,
        max_grad_norm=BOUND,
        batches=np.random.default_rng(0),
        noise=noise_source(b"k" * 32),
    )
    return module, train_round(module, patients(count), task, plan=plan)


@pytest.mark.parametrize(("name", "trained"), CASES)
def test_the_clipped_norm_is_that_of_the_trained_tensors(name: str, trained: str) -> None:
    """One patient, hardly any noise: the update is the clipped gradient, C long."""
    task = task_of(name, trained)
    module, made = one_step(task, 1, sigma=1e-6)
    assert list(made.update) == list(trainable(module))
    assert joint_norm(made.update) == pytest.approx(BOUND, rel=1e-2)


@pytest.mark.parametrize(("name", "trained"), CASES)
def test_noise_reaches_the_trained_tensors_alone(name: str, trained: str) -> None:
    task = task_of(name, trained)
    before = frozen(build(task, seed=1))
    module, made = one_step(task, 0, sigma=5.0)
    after = frozen(module)
    assert before
    assert all((after[key] == tensor).all() for key, tensor in before.items())
    drawn = np.concatenate([tensor.ravel() for tensor in made.update.values()])
    assert (drawn != 0).all()
    deviation = drawn.std() / (5.0 * BOUND)
    assert abs(deviation - 1) < 5 / np.sqrt(2 * drawn.size)  # five standard errors
