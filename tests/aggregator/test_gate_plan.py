"""Before a study it is said how often the gate would promote a model that is no worse."""

from __future__ import annotations

from dataclasses import replace

from test_watch import watched_task
from tiny_federation import tiny_task

from aggregator.gate_plan import Chance, chances, lines, promoted
from fedrad.privacy.accounting import plan_sigma


def test_the_chance_is_that_of_the_benchmark_at_epsilon_four() -> None:
    """``benchmarks/shiftbench/gates.py`` draws patients with scores: .297 [.255, .344]."""
    sigma = plan_sigma(epsilon=4.0, delta=1e-5, q=1.0, steps=1)
    assert 0.20 < promoted(500, 4, sigma=sigma, prevalence=0.4) < 0.40
    assert promoted(2000, 4, sigma=sigma, prevalence=0.4) > 0.97


def test_noise_and_more_sites_lower_it() -> None:
    quiet, loud = (promoted(500, 4, sigma=s, prevalence=0.4) for s in (0.0, 6.0))
    assert quiet > loud
    assert promoted(500, 12, sigma=0.0, prevalence=0.4) < quiet


def test_a_task_without_windows_has_no_chances_and_prints_nothing() -> None:
    assert chances(tiny_task(), 4, prevalence=0.5) == ()
    assert not list(lines(()))
    assert chances(replace(watched_task(), monitoring=None), 4, prevalence=0.5) == ()


def test_a_line_names_each_number_of_sites() -> None:
    said = list(lines((Chance(4, 500, 0.3), Chance(12, 500, 0.05))))
    assert said[1].startswith("  4 sites, by audit patients of each: 500: 0.30")
    assert len(said) == 3
