"""Noise is planned for every round that may be charged, and no more than the target needs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tiny_study import EXACT, tiny_task

from aggregator.planning import plan_contract
from fedrad.planning import noise
from fedrad.privacy.accounting import Event, epsilon
from fedrad.task import Task

AGREED = 40


def planned_task(*settings: str) -> Task:
    """Return the tiny task without a noise of its own: two rounds of two steps."""
    task = tiny_task(*settings)
    return replace(task, privacy=replace(task.privacy, noise_multiplier=None))


def test_the_planned_noise_keeps_all_rounds_with_the_spare_ones_and_is_not_wasted() -> None:
    task = planned_task("federation.spare_rounds=3")
    sigma = noise.train_sigma(task, AGREED)
    paid = noise.training(task, AGREED, sigma=sigma)
    assert (paid.q, paid.steps) == (8 / AGREED, (2 + 3) * 2)
    assert 0.98 * task.privacy.epsilon < paid.epsilon <= task.privacy.epsilon
    less = noise.training(task, AGREED, sigma=0.99 * sigma)
    assert less.epsilon > task.privacy.epsilon


def test_the_epsilon_of_a_given_noise_is_the_accountants() -> None:
    task = planned_task()
    event = Event(mechanism="subsampled-gaussian", sigma=1.1, q=0.2, steps=4)
    found = noise.training(task, AGREED, sigma=1.1)
    assert found.epsilon == epsilon([event], task.privacy.delta)
    assert 0.01 < found.attack < 1


def test_spare_rounds_cost_noise_and_save_epsilon_where_they_are_not_needed() -> None:
    task = planned_task("federation.spare_rounds=3")
    sigma = noise.train_sigma(task, AGREED)
    spare = noise.spare_cost(task, AGREED, sigma=sigma)
    assert spare is not None
    assert spare.sigma_without == noise.train_sigma(planned_task(), AGREED) < sigma
    assert spare.epsilon_unused < task.privacy.epsilon
    assert noise.spare_cost(planned_task(), AGREED, sigma=sigma) is None


def test_a_site_smaller_than_the_batch_draws_everybody() -> None:
    assert noise.sampling_rate(planned_task(), 5) == 1.0


def test_a_contract_has_the_noise_that_a_site_would_compute_for_itself() -> None:
    task = planned_task()
    contract = plan_contract(task, "study", {"east": 44, "north": 43, "south": 6})
    for site, terms in contract.sites.items():
        assert terms.train_sigma == noise.train_sigma(task, terms.patients_agreed)
        assert terms.audit_sigma == noise.audit_sigma(task)
        rate = contract.sampling_rate(site, task.training.expected_batch_patients)
        assert rate == noise.sampling_rate(task, terms.patients_agreed)


def test_a_noise_that_the_task_names_is_kept_whatever_it_costs() -> None:
    task = tiny_task()
    assert noise.train_sigma(task, AGREED) == task.privacy.noise_multiplier == 1.5


def test_without_privacy_there_is_no_noise_and_no_bound() -> None:
    task = tiny_task(*EXACT)
    assert noise.train_sigma(task, AGREED) == noise.audit_sigma(task) == 0
    paid = noise.training(task, AGREED, sigma=0.0)
    assert (paid.epsilon, paid.attack, paid.private) == (math.inf, 1.0, False)


def test_releases_fit_their_own_epsilon() -> None:
    task = planned_task("evaluation.every_rounds=1")
    paid = noise.releases(task, sigma=noise.audit_sigma(task))
    assert paid.steps == 2
    assert paid.epsilon == pytest.approx(task.privacy.epsilon, rel=0.02)
    assert paid.epsilon <= task.privacy.epsilon
