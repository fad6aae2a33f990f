"""The choice of a learning rate: by training patients alone, by one rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tiny_study import SEED, SITES, TinyStudy

from simulations import baselines
from simulations.arms import Study
from simulations.tuning import best_rate, fit_part, judge_part
from site_client.dataset import load_split
from site_client.training.source import PatientImages


@dataclass
class Keys:
    """A source of patients of whom only the keys are known."""

    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def record(self, index: int) -> PatientImages:
        return PatientImages(self.keys[index], None)


@dataclass
class Labelled(Keys):
    """Patients whose class is known too."""

    labels: list[int]

    def record(self, index: int) -> PatientImages:
        return PatientImages(self.keys[index], None, self.labels[index])


def test_the_highest_score_wins() -> None:
    assert best_rate({0.1: 0.7, 0.5: 0.9, 1.5: 0.8}) == 0.5


def test_a_tie_goes_to_the_lower_rate() -> None:
    assert best_rate({1.5: 0.9, 0.5: 0.9, 0.1: 0.2}) == 0.5


def test_a_rate_that_diverged_never_wins() -> None:
    assert best_rate({0.1: 0.2, 0.5: math.nan, 1.5: math.inf}) == 0.1


def test_where_all_diverged_the_lowest_is_taken() -> None:
    assert best_rate({0.5: math.nan, 0.1: math.nan}) == 0.1


@given(st.lists(st.text(min_size=1), unique=True))
def test_the_two_parts_share_nobody_and_leave_nobody_out(keys: list[str]) -> None:
    source = Keys(keys)
    fit, judge = fit_part(source), judge_part(source)
    assert sorted([*fit.chosen, *judge.chosen]) == list(range(len(keys)))


@given(st.lists(st.text(min_size=1), unique=True, min_size=10), st.integers(2, 8))
def test_every_class_judges_and_trains(keys: list[str], rare: int) -> None:
    labels = [int(place < rare) for place in range(len(keys))]
    source = Labelled(keys, labels)
    for part in (fit_part(source), judge_part(source)):
        assert {part.record(index).label for index in range(len(part))} == {0, 1}


def test_no_test_patient_trains_or_judges(exact_study: TinyStudy) -> None:
    study = Study(task=exact_study.task, contract=exact_study.contract, seed=SEED)
    for site in SITES:
        job = baselines.Job(
            run=exact_study.run, study=study, arm="alone", sites=(site,), rate=0.2, trial=True
        )
        source = baselines._sources(job)[site]
        seen = {source.record(index).key for index in range(len(source))}
        held_out = load_split(exact_study.home(site), exact_study.task, "test").patients
        assert len(held_out) > 0
        assert seen.isdisjoint(held_out)
