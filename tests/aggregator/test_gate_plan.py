"""Before a study it is said how often the gate would promote a model that is no worse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from test_watch import watched_task
from tiny_federation import tiny_task
from watched_outlines import outlines_task

from aggregator.gate_plan import (
    Chance,
    chances,
    disagreements,
    lines,
    outline_changes,
    promoted,
)
from fedrad.privacy.accounting import plan_sigma

CALLS = partial(disagreements, prevalence=0.4)


def test_the_chance_is_that_of_the_benchmark_at_epsilon_four() -> None:
    """``benchmarks/shiftbench/gates.py`` draws patients with scores: .297 [.255, .344]."""
    sigma = plan_sigma(epsilon=4.0, delta=1e-5, q=1.0, steps=1)
    assert 0.20 < promoted(500, 4, sigma=sigma, draw=CALLS) < 0.40
    assert promoted(2000, 4, sigma=sigma, draw=CALLS) > 0.97


def test_noise_and_more_sites_lower_it() -> None:
    quiet, loud = (promoted(500, 4, sigma=s, draw=CALLS) for s in (0.0, 6.0))
    assert quiet > loud
    assert promoted(500, 12, sigma=0.0, draw=CALLS) < quiet


def test_a_task_without_windows_has_no_chances_and_prints_nothing() -> None:
    assert chances(tiny_task(), 4, prevalence=0.5) == ()
    assert not list(lines((), tiny_task()))
    assert chances(replace(watched_task(), monitoring=None), 4, prevalence=0.5) == ()


def test_a_line_names_each_number_of_sites() -> None:
    said = list(lines((Chance(4, 500, 0.3), Chance(12, 500, 0.05)), tiny_task()))
    assert said[1].startswith("  4 sites, by audit patients of each: 500: 0.30")
    assert len(said) == 3


def test_outlines_have_chances_of_their_own() -> None:
    assert promoted(500, 4, sigma=2.0, draw=outline_changes) > 0.9
    assert promoted(30, 4, sigma=2.0, draw=outline_changes) < 0.5
    assert "Dice" in next(lines((Chance(4, 500, 0.3),), outlines_task()))
