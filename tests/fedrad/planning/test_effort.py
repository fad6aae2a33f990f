"""Time is measured on made-up patients and scaled to the patients that a step draws."""

from __future__ import annotations

import time

import pytest
import torch
from tiny_study import tiny_task

from fedrad.models.networks import build
from fedrad.planning.effort import LONG_ENOUGH_S, measured, on_threads, plain_probe
from simulations.scenario import read_scenario


def test_a_slow_probe_is_read_with_few_patients_and_scaled() -> None:
    asked: list[int] = []

    def probe(patients: int) -> None:
        asked.append(patients)
        time.sleep(LONG_ENOUGH_S / 4 * patients)

    found = measured(probe, what="sleeping", task=tiny_task(), expected_batch=40)
    assert found.patients == max(asked) < 40
    assert found.scaled
    assert found.round_s == pytest.approx(found.steps * found.step_s * 40 / found.patients)
    assert (found.steps, found.threads) == (2, torch.get_num_threads())


def test_a_fast_probe_is_read_with_the_whole_batch() -> None:
    asked: list[int] = []
    found = measured(asked.append, what="nothing", task=tiny_task(), expected_batch=11.6)
    assert found.patients == max(asked) == 12
    assert not found.scaled
    assert found.round_s == pytest.approx(found.steps * found.step_s)


@pytest.mark.parametrize("scenario", ["four_hospitals", "lungs_private", "nodules3d"])
def test_the_plain_probe_takes_every_kind_of_network_through_a_step(scenario: str) -> None:
    task = read_scenario(scenario, ("recipe.size=[32,32]",) * (scenario != "nodules3d"))[1]
    module = build(task, seed=0)
    before = [tensor.clone() for tensor in module.parameters()]
    plain_probe(task, module)(2)
    assert all(map(torch.equal, before, module.parameters()))


def test_the_number_of_threads_is_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
