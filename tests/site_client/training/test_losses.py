"""Losses: one value per record, and no record weighs on another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.task import Task
from site_client.training.losses import cross_entropy, dice, loss_of

MakeTask = Callable[..., Task]


@given(seed=st.integers(0, 1000), count=st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_a_record_costs_the_same_alone_and_in_company(seed: int, count: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 2, 4, 4, generator=chance)
    truth = torch.randint(0, 2, (count, 4, 4), generator=chance)
    weight = torch.tensor([0.3, 2.0])
    for loss in (dice, lambda a, b: cross_entropy(a, b, weight)):
        alone = torch.cat([loss(logits[i : i + 1], truth[i : i + 1]) for i in range(count)])
        torch.testing.assert_close(loss(logits, truth), alone)


def test_cross_entropy_is_minus_log_of_the_true_class() -> None:
    probability = torch.tensor([[0.8, 0.2], [0.25, 0.75]])
    found = cross_entropy(probability.log(), torch.tensor([0, 0]), torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(found, -2 * torch.tensor([0.8, 0.25]).log())


def test_dice_is_zero_for_a_sure_and_right_answer() -> None:
    truth = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    right = torch.stack([1 - truth, truth], dim=1) * 200.0 - 100
    assert dice(right, truth).tolist() == pytest.approx([0.0, 0.0])
    half = torch.zeros(1, 2, 2, 2)  # probability 1/2 everywhere: (2 * 1 + 1) / (2 + 2 + 1)
    assert dice(half, truth[:1]).tolist() == pytest.approx([1 - 3 / 5])


def test_the_task_names_the_loss(task_with: MakeTask) -> None:
    logits, truth = torch.randn(2, 2, 4, 4), torch.ones(2, 4, 4, dtype=torch.int64)
    both = loss_of(task_with("unet", kind="segmentation", loss="dice_ce"))
    expected = dice(logits, truth) + cross_entropy(logits, truth)
    torch.testing.assert_close(both(logits, truth), expected)
    weighted = loss_of(task_with(class_weights=[1.0, 3.0]))
    torch.testing.assert_close(
        weighted(logits[:, :, 0, 0], truth[:, 0, 0]),
        3 * cross_entropy(logits[:, :, 0, 0], truth[:, 0, 0]),
    )


def test_a_dice_loss_for_a_classification_is_refused(task_with: MakeTask) -> None:
    with pytest.raises(SettingsError, match="'dice' is for segmentation: use cross_entropy"):
        task_with(loss="dice")
