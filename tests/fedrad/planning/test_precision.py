"""The planned half-width is what noised reports of made-up patients turn out to have."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from fedrad.errors import SettingsError
from fedrad.metrics import classification, segmentation
from fedrad.metrics.measure import measure
from fedrad.metrics.metric import Metric
from fedrad.planning.precision import (
    Guess,
    enough_patients,
    expected_precision,
    expected_sums,
    pooled_precision,
    primary,
)
from fedrad.protocol.messages import Block
from fedrad.site_report import noised
from fedrad.task import Task
from simulations.scenario import read_scenario

DRAWS = 80
SCORES, DICE = read_scenario("four_hospitals")[1], read_scenario("lungs_private")[1]


@dataclass(frozen=True)
class World:
    """Patients drawn at random as a guess says, and what their site would release."""

    task: Task
    guess: Guess
    rng: np.random.Generator

    def sums(self, patients: int) -> tuple[Block, ...]:
        """Count one site's drawn patients exactly."""
        edges = self.task.evaluation.edges
        if self.task is DICE:
            dice = self._dice(patients)
            return segmentation.blocks(dice, np.zeros(patients, bool), edges=edges)
        label = (self.rng.random(patients) < self.guess.prevalence).astype(int)
        point = self.task.analysis.operating_point
        scores = self._scores(label)
        return classification.blocks(scores, label, edges=edges, operating_point=point)

    def report(self, patients: int, sigma: float) -> Metric:
        """Return the primary metric as read off one noised release."""
        sums = noised(self.sums(patients), sigma=sigma, rng=self.rng)
        found = measure(sums, self.task, self.rng)
        return next(metric for metric in found if metric.name == primary(self.task))

    def _scores(self, label: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        distance = math.sqrt(2) * special.ndtri(self.guess.quality)
        evidence = self.rng.normal((2 * label - 1) * distance**2 / 2, distance)
        return special.expit(evidence + special.logit(self.guess.prevalence))

    def _dice(self, patients: int) -> npt.NDArray[np.float64]:
        mean, spread = self.guess.quality, self.guess.dice_spread
        size = mean * (1 - mean) / spread**2 - 1
        return self.rng.beta(mean * size, (1 - mean) * size, patients)


@pytest.mark.parametrize(
    ("task", "quality", "patients", "sigma"),
    [
        (SCORES, 0.75, 160, 1.3),
        (SCORES, 0.9, 120, 2.0),
        (DICE, 0.85, 60, 1.3),
        (DICE, 0.8, 90, 3.9),
    ],
)
def test_the_formula_agrees_with_noised_reports_of_drawn_patients(
    task: Task, quality: float, patients: int, sigma: float
) -> None:
    """Both the interval that readers will see and the true error, within Monte Carlo's own."""
    guess = Guess(quality=quality, prevalence=0.4)
    world = World(task, guess, np.random.default_rng(5))
    planned = expected_precision(task, patients, sigma=sigma, guess=guess).half_width
    found = [metric for _ in range(DRAWS) if (metric := world.report(patients, sigma)).estimable]
    assert planned is not None
    assert len(found) > 0.9 * DRAWS
    shown = np.median([(m.hi or 0) - (m.lo or 0) for m in found]) / 2
    errors = [(metric.value or 0) - quality for metric in found]
    assert planned == pytest.approx(shown, rel=0.12)
    assert planned == pytest.approx(1.96 * math.sqrt(np.mean(np.square(errors))), rel=0.25)


@pytest.mark.parametrize("task", [SCORES, DICE])
def test_the_expected_sums_are_the_mean_of_drawn_ones(task: Task) -> None:
    guess = Guess(quality=0.8, prevalence=0.3)
    world = World(task, guess, np.random.default_rng(6))
    drawn = [world.sums(500) for _ in range(100)]
    for index, expected in enumerate(expected_sums(task, 500, guess)):
        mean = np.mean([sums[index].values for sums in drawn], axis=0)
        assert [expected.name for _ in drawn] == [sums[index].name for sums in drawn]
        np.testing.assert_allclose(expected.values, mean, atol=4.0)


@settings(max_examples=10)
@given(st.integers(40, 2000), st.floats(0.3, 3.0))
def test_noise_widens_and_patients_narrow(patients: int, sigma: float) -> None:
    guess = Guess()
    found = expected_precision(SCORES, patients, sigma=sigma, guess=guess)
    more = expected_precision(SCORES, 4 * patients, sigma=sigma, guess=guess)
    assert found.sampling is not None
    assert found.half_width is None or found.half_width > found.sampling
    assert more.half_width is None or more.half_width < (found.half_width or math.inf)


def test_without_noise_only_sampling_is_left() -> None:
    found = expected_precision(DICE, 80, sigma=0.0, guess=Guess())
    assert found.half_width == found.sampling == pytest.approx(1.96 * 0.1 / math.sqrt(80), rel=0.1)


@pytest.mark.parametrize("task", [SCORES, DICE])
@pytest.mark.parametrize("patients", [0, 1, 5])
def test_a_handful_of_patients_under_noise_is_not_estimable(task: Task, patients: int) -> None:
    assert expected_precision(task, patients, sigma=3.0, guess=Guess()).half_width is None


@pytest.mark.parametrize("task", [SCORES, DICE])
@pytest.mark.parametrize("sigma", [0.0, 1.2, 4.0])
def test_as_many_patients_as_are_enough_have_an_estimate_and_five_fewer_have_none(
    task: Task, sigma: float
) -> None:
    enough = enough_patients(task, sigma=sigma, guess=Guess())
    assert enough is not None
    assert expected_precision(task, enough, sigma=sigma, guess=Guess()).half_width is not None
    assert expected_precision(task, enough - 5, sigma=sigma, guess=Guess()).half_width is None


def test_under_overwhelming_noise_no_number_of_patients_is_enough() -> None:
    assert enough_patients(SCORES, sigma=1e5, guess=Guess()) is None


def test_pooling_sites_adds_their_patients_and_their_noise() -> None:
    guess = Guess()
    one = expected_precision(SCORES, 300, sigma=1.0, guess=guess)
    three = pooled_precision(SCORES, [100, 100, 100], sigma=1.0, guess=guess)
    assert three.sampling == pytest.approx(one.sampling)
    assert (one.half_width or 1) < (three.half_width or 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quality": 0.5}, "quality must lie between 0.5 and 1"),
        ({"prevalence": 1.0}, "prevalence must lie between 0 and 1"),
        ({"dice_spread": 0.5}, "dice_spread 0.5 is none that a mean of 0.85 can have"),
    ],
)
def test_a_guess_that_cannot_be_is_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Guess(**fields)
