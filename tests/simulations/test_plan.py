"""From a command's options to a plan, and back to the command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fedrad.errors import SettingsError
from simulations.plan import Plan, Wishes, make_plan


def planned(**wishes: object) -> Plan:
    return make_plan(
        "four_hospitals",
        Path("my runs/1"),
        Wishes(**wishes),  # type: ignore[arg-type]
        engine="local",
        baselines=True,
    )


def test_without_wishes_a_plan_is_the_scenario() -> None:
    plan = planned()
    assert (plan.seed, plan.study, plan.task.privacy.enabled) == (1, "four_hospitals-1", True)


def test_epsilon_zero_means_without_privacy_and_exact() -> None:
    task = planned(epsilon=0.0).task
    assert (task.privacy.enabled, task.exact) == (False, True)


def test_another_epsilon_keeps_the_task_private() -> None:
    task = planned(epsilon=2.5).task
    assert (task.privacy.epsilon, task.privacy.enabled, task.exact) == (2.5, True, False)


@pytest.mark.parametrize("rounds", [1, 3, 4, 7, 100])
def test_any_number_of_rounds_fits_the_releases_that_the_task_pays_for(rounds: int) -> None:
    task = planned(rounds=rounds).task
    assert task.federation.rounds == rounds


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"rounds": 0}, "rounds must be 1 or more"),
        ({"rounds": -3}, "rounds must be 1 or more"),
        ({"epsilon": -1.0}, "epsilon must be greater than 0"),
        ({"epsilon": float("nan")}, "privacy.epsilon must be a finite number"),
        ({"epsilon": float("inf")}, "privacy.epsilon must be a finite number"),
        ({"seed": -1}, "seed must lie in"),
        ({"data": Path("x")}, "makes its own phantoms; leave --data out"),
        ({"settings": ("nothing.here=1",)}, "'nothing' is not one of"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wishes: dict, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        planned(**wishes)


def test_the_command_that_is_shown_makes_the_same_plan_again() -> None:
    settings = ("training.optimiser.name='adam'", "seed=123456789")
    plan = planned(rounds=12, seed=123456789, epsilon=0.1, settings=settings)
    words = shlex.split(plan.command)
    assert words[:4] == ["fedrad-sim", "run", "four_hospitals", "--out"]
    option = {word: words[place + 1] for place, word in enumerate(words) if word[:2] == "--"}
    assert (option["--out"], option["--rounds"]) == ("my runs/1", "12")
    assert (option["--seed"], option["--epsilon"]) == ("123456789", "0.1")
    assert words[-3:] == [settings[0], "--set", settings[1]]
