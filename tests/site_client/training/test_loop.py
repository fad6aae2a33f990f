"""One round of local training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fedrad.errors import ModelError, NonFiniteUpdateError, SettingsError
from fedrad.models.networks import build
from fedrad.parameters import joint_norm, trainable
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task
from site_client.training.gradients import plain_sum
from site_client.training.loop import StepPlan, train_round
from site_client.training.losses import cross_entropy
from site_client.training.predict import scores
from site_client.training.source import kept_features

MakeTask = Callable[..., Task]
KEY = bytes(range(32))


def plan(**changes: Any) -> StepPlan:
    """A plain plan with some numbers changed; chance starts anew at every call."""
    numbers = {
        "q": 0.5,
        "sigma": 0.0,
        "steps": 2,
        "expected_batch_patients": 4.0,
        "max_grad_norm": 1.0,
        "batches": np.random.default_rng(7),
        "noise": noise_source(KEY),
    }
    return StepPlan(**{**numbers, **changes})


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_the_same_plan_gives_the_same_bits_with_kept_features_or_without(
    task_with: MakeTask, blob_patients: Callable, sigma: float
) -> None:
    task, patients = task_with(), blob_patients(8)
    kept = kept_features(build(task, seed=1), patients, task)
    updates = [
        train_round(build(task, seed=1), source, task, plan=plan(sigma=sigma)).update
        for source in (patients, patients, kept, kept)
    ]
    for update in updates[1:]:
        assert all((update[name] == updates[0][name]).all() for name in update)
    assert joint_norm(updates[0]) > 0


def test_the_update_is_trained_minus_received(task_with: MakeTask, blob_patients: Callable) -> None:
    task = task_with()
    module = build(task, seed=1)
    received = trainable(module)
    update = train_round(module, blob_patients(6), task, plan=plan()).update
    assert list(update) == list(received)
    for name, tensor in trainable(module).items():
        np.testing.assert_array_equal(update[name], tensor - received[name])


def test_a_closed_site_pauses_between_two_steps_and_trains_the_same(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task, patients, pauses = task_with(), blob_patients(6), []
    kinds = (plan(steps=4), plan(steps=4, pause=lambda: pauses.append(1)))
    still, paused = (
        train_round(build(task, seed=1), patients, task, plan=kind).update for kind in kinds
    )
    assert len(pauses) == 3
    assert all((still[name] == paused[name]).all() for name in still)


def test_one_plain_step_is_the_mean_gradient_over_the_expected_batch(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(optimiser={"name": "sgd", "rate": 0.25})
    patients = blob_patients(6)
    module = build(task, seed=1)
    summed = plain_sum(module, patients.records, cross_entropy).total
    update = train_round(module, patients, task, plan=plan(q=1.0, steps=1)).update
    for name, tensor in update.items():
        np.testing.assert_allclose(tensor, -0.25 * summed[name].numpy() / 4, atol=1e-6)


def test_a_plan_may_bring_its_own_rate(task_with: MakeTask, blob_patients: Callable) -> None:
    task, patients = task_with(optimiser={"name": "sgd", "rate": 0.25}), blob_patients(6)
    fast, slow = (
        train_round(build(task, seed=1), patients, task, plan=plan(steps=1, rate=rate)).update
        for rate in (None, 0.025)
    )
    assert joint_norm(fast) == pytest.approx(10 * joint_norm(slow), rel=1e-3)


def test_a_private_step_moves_by_clipped_gradients_and_noise_only(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    """With next to no noise the step is bounded by patients * C; with much it is noise."""
    task = task_with(optimiser={"name": "sgd", "rate": 1.0})
    sizes = [
        joint_norm(
            train_round(
                build(task, seed=1),
                blob_patients(6),
                task,
                plan=plan(q=1.0, steps=1, sigma=sigma, max_grad_norm=0.01),
            ).update
        )
        for sigma in (1e-3, 1000.0)
    ]
    assert sizes[0] <= 6 * 0.01 / 4 + 1e-3
    assert sizes[1] == pytest.approx(1000 * 0.01 / 4 * np.sqrt(2385), rel=0.1)


@pytest.mark.parametrize("count", [0, 3])
def test_an_empty_draw_still_takes_a_noisy_step(
    task_with: MakeTask, blob_patients: Callable, count: int
) -> None:
    task = task_with()
    trained = train_round(
        build(task, seed=1), blob_patients(count), task, plan=plan(q=1e-9, sigma=1.0, steps=3)
    )
    assert trained.steps == 3
    assert joint_norm(trained.update) > 1


def test_proximal_training_stays_nearer_to_what_was_received(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(optimiser={"name": "sgd", "rate": 0.1})
    free, held = (
        joint_norm(
            train_round(
                build(task, seed=1), blob_patients(12), task, plan=plan(steps=15, proximal=mu)
            ).update
        )
        for mu in (0.0, 5.0)
    )
    assert 0 < held < 0.5 * free


def test_the_optimiser_starts_anew_every_round(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(optimiser={"name": "sgd", "rate": 0.1, "momentum": 0.9})
    module, patients = build(task, seed=1), blob_patients(4)
    train_round(module, patients, task, plan=plan(q=1.0, steps=5))
    gradient = plain_sum(module, patients.records, cross_entropy).total
    update = train_round(module, patients, task, plan=plan(q=1.0, steps=1)).update
    for name, tensor in update.items():
        np.testing.assert_allclose(tensor, -0.1 * gradient[name].numpy() / 4, atol=1e-6)


def test_augmentation_gets_images_and_chance_and_changes_the_update(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(augment=("flip",))
    seen: list[tuple[int, ...]] = []

    def flip(images: Any, masks: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        seen.append(images.shape)
        return (images[..., ::-1] if rng.random() < 0.9 else images), masks

    patients = blob_patients(6)
    changed = train_round(build(task, seed=1), patients, task, plan=plan(), augment=flip)
    plain = train_round(build(task, seed=1), patients, task, plan=plan())
    assert seen
    assert all(shape[1:] == (1, 32, 32) for shape in seen)
    assert any((changed.update[name] != plain.update[name]).any() for name in plain.update)
    kept = kept_features(build(task, seed=1), patients, task_with())
    with pytest.raises(ModelError, match="features cannot be augmented"):
        train_round(build(task, seed=1), kept, task, plan=plan(q=1.0), augment=flip)


def test_adam_and_a_network_without_a_stem_train_too(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(
        "unet",
        kind="segmentation",
        parameters={"channels": [4, 8]},
        optimiser={"name": "adam", "rate": 0.01},
        loss="dice_ce",
    )
    patients = blob_patients(4, masked=True)
    trained = train_round(build(task, seed=1), patients, task, plan=plan(sigma=0.5))
    assert max(float(abs(tensor).max()) for tensor in trained.update.values()) < 0.021


@pytest.mark.parametrize("sigma", [0.0, 1e-6])
def test_a_broken_image_is_left_out_and_counted(
    task_with: MakeTask, blob_patients: Callable, sigma: float
) -> None:
    task, patients = task_with(), blob_patients(6)
    patients.records[2].images[0, 0, 5, 5] = np.nan
    trained = train_round(build(task, seed=1), patients, task, plan=plan(q=1.0, sigma=sigma))
    assert trained.skipped == 2  # once in each step
    assert np.isfinite(joint_norm(trained.update))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -1e25])
def test_no_patient_can_make_a_private_update_not_finite(
    task_with: MakeTask, blob_patients: Callable, value: float
) -> None:
    """Else whether there is an update would say who is in it, outside the noise."""
    task, patients = task_with(), blob_patients(6)
    patients.records[0].images[:] = value
    private = plan(q=1.0, steps=3, sigma=1.0, noise=np.random.default_rng(1))
    update = train_round(build(task, seed=1), patients, task, plan=private).update
    assert all(np.isfinite(tensor).all() for tensor in update.values())


def test_training_that_diverges_says_so(task_with: MakeTask, blob_patients: Callable) -> None:
    task = task_with(optimiser={"name": "sgd", "rate": 3e38})
    with pytest.raises(NonFiniteUpdateError, match="lower the learning rate"):
        train_round(
            build(task, seed=1), blob_patients(6), task, plan=plan(q=1.0, steps=4, sigma=1e3)
        )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"q": 0.0}, "q must lie"),
        ({"q": np.array([0.5, 1.5])}, "q must lie"),
        ({"sigma": 1.0, "noise": None}, "noise generator"),
        ({"sigma": -1.0}, "sigma must be 0 or more"),
        ({"steps": 0}, "steps must be 1"),
        ({"max_grad_norm": 1e-30}, "max_grad_norm must lie between 0.01 and 10000, got 1e-30"),
        ({"max_grad_norm": math.inf}, "max_grad_norm must lie"),
        ({"max_grad_norm": math.nan}, "max_grad_norm must lie"),
        ({"expected_batch_patients": -1.0}, "expected_batch_patients"),
    ],
)
def test_a_plan_that_cannot_hold_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        plan(**changes)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_training_learns_to_find_blobs(
    task_with: MakeTask, blob_patients: Callable, sigma: float
) -> None:
    """Seen from outside: private or not, patients never seen are told apart."""
    torch.set_num_threads(1)
    task = task_with(optimiser={"name": "sgd", "rate": 0.5, "momentum": 0.9})
    module, patients, others = build(task, seed=1), blob_patients(160), blob_patients(80, seed=9)
    train_round(
        module, patients, task, plan=plan(sigma=sigma, steps=25, expected_batch_patients=80.0)
    )
    labels = [record.label for record in others.records]
    assert roc_auc_score(labels, scores(module, others)) > 0.9


def test_augmented_copies_of_a_patient_are_one_patient(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with(augment=("flip",), augmentations=3, optimiser={"name": "sgd", "rate": 1.0})
    patients = blob_patients(5, most=1)
    seen = []

    def remember(images: np.ndarray, masks: Any, _: Any) -> Any:
        seen.append(len(images))
        return images, masks

    update = train_round(
        build(task, seed=1), patients, task, plan=plan(q=1.0, steps=1), augment=remember
    ).update
    once = train_round(build(task, seed=1), patients, task, plan=plan(q=1.0, steps=1)).update
    assert seen == [3] * 5
    for name, tensor in once.items():  # unchanged copies have the same mean gradient
        np.testing.assert_allclose(update[name], tensor, atol=1e-5)


def test_signals_in_bfloat16_are_chosen_by_the_task(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    updates = []
    for precision in ("float32", "bfloat16"):
        task, patients = task_with(precision=precision), blob_patients(6)
        module = build(task, seed=1)
        updates.append(train_round(module, patients, task, plan=plan(sigma=0.01)).update)
    apart = joint_norm({n: updates[0][n] - updates[1][n] for n in updates[0]})
    assert 0 < apart < 0.5 * joint_norm(updates[0])


def test_private_training_refuses_a_network_whose_patients_it_cannot_bound(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with("resnet18", parameters={"widen_factor": 0.125})
    module = build(task, seed=1)
    module.bn1 = torch.nn.BatchNorm2d(8)
    with pytest.raises(ModelError, match="BatchNorm2d at 'bn1' mixes the records of a batch"):
        train_round(module, blob_patients(4), task, plan=plan(sigma=1.0))


def test_patients_that_nobody_can_use_are_counted_and_the_round_goes_on(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task, patients = task_with(), blob_patients(6)
    patients.records[2].images[:] = np.nan
    trained = train_round(build(task, seed=1), patients, task, plan=plan(q=1.0, sigma=1.0))
    assert trained.skipped == 2  # one patient in each of two steps
    assert all(np.isfinite(tensor).all() for tensor in trained.update.values())


def test_masks_finer_than_the_stored_features_train_privately(
    task_with: MakeTask, blob_patients: Callable
) -> None:
    task = task_with("filter_bank_pixel", kind="segmentation", loss="dice_ce")
    patients = blob_patients(4, masked=True)
    trained = train_round(build(task, seed=1), patients, task, plan=plan(sigma=1.0))
    assert trained.skipped == 0
    assert joint_norm(trained.update) > 0
