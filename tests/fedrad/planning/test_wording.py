"""A plan says what its numbers say: no finer than known, in whole words, on one screen."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import tiny_task

from fedrad.models.networks import build
from fedrad.planning.effort import Effort
from fedrad.planning.forecast import Cohort, Forecast, Measured, Wishes, study_forecast
from fedrad.planning.outcomes import (
    SCRATCH,
    Baseline,
    Cell,
    Outcomes,
    Trial,
    full_parameters,
)
from fedrad.planning.traffic import traffic
from fedrad.planning.wording import as_text, folded

EFFORT = Effort(what="nothing", patients=8, step_s=0.1234, expected_batch=8.0, steps=2, threads=1)


def a_table(private: tuple[float, float]) -> Outcomes:
    """Return a table of the tiny task's network with invented scores."""
    trial = Trial(
        name="made-up",
        data="invented films",
        kind="classification",
        network="filter_bank_cnn",
        parameters=full_parameters("filter_bank_cnn", {}),
        size=(32, 32),
        start=SCRATCH,
        delta=1e-3,
        sites=3,
        test_patients=10,
        seeds=(4, 5),
        plain="any",
        baselines=(
            Baseline(patients=40, trivial=(0.5, 0.5), alone=(0.7, 0.72), federated=(0.9, 0.9)),
        ),
        cells=tuple(
            Cell(patients=40, epsilon=e, sigma=1.0, recipe="any", private=private)
            for e in (0.5, 8.0)
        ),
    )
    return Outcomes(schema=1, measured="", command="", code="", versions={}, trials=(trial,))


@cache
def a_forecast(
    *counts: int, private: tuple[float, float] = (0.6, 0.62), settings: tuple[str, ...] = ()
) -> Forecast:
    """Return the forecast of the tiny task for sites of ``counts`` patients; three of 40."""
    task = tiny_task(*settings)
    measured = Measured(
        outcomes=a_table(private), traffic=traffic(task, build(task, seed=0)), effort=EFFORT
    )
    cohorts = zip("ABC", counts or (40, 40, 40), strict=True)
    sites = {name: Cohort(train=count, audit=30) for name, count in cohorts}
    return study_forecast(task, sites, measured, wishes=Wishes())


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_study_is_hopeless_only_where_every_site_is() -> None:
    poor = a_forecast()
    assert [site.verdict.answer for site in poor.sites] == ["no"] * 3
    assert poor.hopeless
    good = a_forecast(private=(0.89, 0.9))
    assert [site.verdict.answer for site in good.sites] == ["go"] * 3
    assert not good.hopeless
    assert not replace(poor, sites=(*poor.sites[:2], good.sites[0])).hopeless


def test_the_readings_behind_a_verdict_are_shown_with_spread_and_seeds() -> None:
    said = flat(as_text(a_forecast(), 100))
    kept = fmean([(0.6 - 0.5) / 0.4, (0.62 - 0.5) / 0.4])
    measured = (
        "40 patients a site at epsilon {}, AUROC 0.610 (0.600 to 0.620); without privacy 0.900 "
        "(0.900 to 0.900); alone with 40 patients 0.710 (0.700 to 0.720); "
        f"keeps {100 * kept:.0f} % of the skill, 0.100 below alone"
    )
    assert f"with no more than this study has, no: {measured.format(0.5)}" in said
    assert f"with no less, no: {measured.format(8)}" in said
    assert "measured on invented films: AUROC, mean (least to largest) of seeds 4, 5" in said
    assert "nothing that was measured would be better, one change at a time" in said


def test_no_estimate_has_a_reason_and_a_way_out() -> None:
    whole = a_forecast()
    assert whole.enough_audit is None
    assert "no estimate" not in as_text(whole, 100)
    dull = replace(whole.sites[0], precision=replace(whole.sites[0].precision, half_width=None))
    few = replace(whole, sites=(dull, *whole.sites[1:]), enough_audit=40)
    said = flat(as_text(few, 100))
    assert "– is no estimate: the interval of its AUROC would be wider than ± 0.25" in said
    assert "it takes 40 audit patients or more; more audit patients or a larger epsilon" in said
    twice = flat(as_text(replace(few, enough_audit=None, releases=(1, 2)), 100))
    assert "not even 10240 audit patients would give one; a larger epsilon or fewer" in twice


def test_sites_of_which_the_same_is_said_share_it() -> None:
    said = as_text(a_forecast(40, 40, 45, private=(0.8, 0.8)), 100)
    assert "A, B: not measured" in said
    assert "\n\nC: not measured" in said
    assert "the site has 45" in said
    assert "the sites have in the mean 41.7" in flat(said)


def test_one_of_a_thing_is_not_several() -> None:
    said = flat(as_text(a_forecast(), 100))
    assert "released once, after round 2, with" in said
    assert "on 1 thread:" in said
    assert "4 steps in 2 rounds." in said
    twice = ("evaluation.every_rounds=1", "federation.spare_rounds=1")
    said = flat(as_text(a_forecast(settings=twice), 100))
    assert "released 2 times, after rounds 1 and 2" in said
    assert "6 steps in 2 rounds and 1 spare." in said


@pytest.mark.parametrize(
    ("step_s", "said"),
    [(0.001234, "0.0025 s"), (4.9, "9.8 s"), (49.8, "100 s"), (75, "2.5 min"), (4000, "2.2 h")],
)
def test_seconds_have_two_digits_and_a_unit_that_a_person_reads(step_s: float, said: str) -> None:
    found = replace(a_forecast(), effort=replace(EFFORT, step_s=step_s))
    assert f"Time: {said} a round" in as_text(found, 100)


@pytest.mark.parametrize(
    ("update", "said"),
    [(1234, "1.2 kB for the update"), (28_345_678, "28 MB for"), (999_999, "1000 kB for")],
)
def test_bytes_have_two_digits_and_a_unit_that_a_person_reads(update: int, said: str) -> None:
    found = a_forecast()
    found = replace(found, traffic=replace(found.traffic, update=update))
    assert said in flat(as_text(found, 100))


def test_a_scaled_time_says_what_was_measured() -> None:
    slow = replace(EFFORT, patients=2)
    said = flat(as_text(replace(a_forecast(), effort=slow), 100))
    assert "a step of 2 patients took 0.12 s, scaled to the 8 expected" in said
    assert "scaled" not in as_text(a_forecast(), 100)


def test_a_long_name_is_folded_and_no_number_is_cut() -> None:
    found = a_forecast()
    sites = tuple(replace(site, site="Universitaetsklinikum-" + site.site) for site in found.sites)
    said = as_text(replace(found, sites=sites), 80)
    assert "…" not in said
    assert f"{found.sites[0].training.epsilon:.2f}" in said


WORDS = st.lists(st.sampled_from(["to", "sites", "long-words,all", "95 %"]), max_size=60)


@given(st.lists(WORDS, max_size=4), st.integers(0, 4), st.integers(24, 120))
def test_folding_loses_no_word_keeps_to_the_width_and_no_number_from_its_percent(
    lines: list[list[str]], indent: int, width: int
) -> None:
    found = folded([" " * indent + " ".join(words) for words in lines], width)
    assert found.split() == [part for words in lines for word in words for part in word.split()]
    assert all(len(line) <= width for line in found.splitlines())
    assert not any(line.strip().startswith("%") for line in found.splitlines())
