"""Do scores mean what they say: shares of positives in bins of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from window_patients import LAYOUT, patients, window

from aggregator.panels.calibration import Bin, Reliability, headline, read_bins, reliabilities
from fedrad.shift.estimates import counted
from fedrad.shift.windows import Released


def told(scores: np.ndarray, labels: np.ndarray, *, sigma: float) -> Released:
    """A window of patients with these scores and labels."""
    seen, _ = patients(np.random.default_rng(1), size=len(labels))
    object.__setattr__(seen, "scores", scores)
    return window(seen, labels, sigma=sigma)


def calibrated(size: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=size)
    return scores, (rng.uniform(size=size) < scores).astype(int)


def test_without_noise_the_share_of_a_bin_is_the_counted_one() -> None:
    scores, labels = calibrated(400)
    found = list(read_bins(counted(told(scores, labels, sigma=1e-9), LAYOUT), LAYOUT))
    for one in found:
        inside = (scores >= one.low) & (scores < one.high)
        assert one.share == pytest.approx(labels[inside].mean(), abs=1e-4)
        assert one.lo < one.share < one.hi
    assert len(found) == len(LAYOUT.edges) - 1


def test_calibrated_scores_lie_off_in_about_one_bin_of_twenty() -> None:
    off, read = 0, 0
    for seed in range(40):
        release = told(*calibrated(300, seed), sigma=1.0)
        found = list(read_bins(counted(release, LAYOUT), LAYOUT))
        off, read = off + sum(one.off for one in found), read + len(found)
    assert read > 200
    assert off / read < 0.06


def test_one_bin_of_many_that_is_just_off_is_no_disagreement_of_a_hospital() -> None:
    just, well = Bin(0.25, 0.375, 0.53, 0.38, 0.67), Bin(0.25, 0.375, 0.80, 0.68, 0.91)
    assert just.off
    assert [just.far(1), just.far(8), well.far(8)] == [True, False, True]
    assert not Reliability("a", "A", (just,) * 8, "").disagrees


def test_labels_turned_over_are_off_and_the_sentence_says_where(make_run: Any) -> None:
    scores, labels = calibrated(400)
    run = make_run()
    turned = {
        "north": [told(scores, 1 - labels, sigma=0.5)],
        "south": [told(scores, labels, sigma=0.5)],
    }
    found = reliabilities(run, turned, LAYOUT)
    assert [one.title for one in found] == ["Hospital A", "Hospital B"]
    assert "were positive" in found[0].sentence
    assert not found[1].disagrees
    assert headline(found) == "Scores and observed shares of positives disagree at Hospital A."
    assert headline(found[1:]).startswith("Scores mean what they say")


def test_a_window_of_nobody_has_no_bin_and_says_so(make_run: Any) -> None:
    nobody = told(np.array([0.4]), np.array([1]), sigma=1.0)
    (found,) = reliabilities(make_run(), {"north": [nobody]}, LAYOUT)
    assert found.bins == ()
    assert "no bin held enough patients" in found.sentence
    assert headline([found]).startswith("No score bin of any hospital")
    assert headline([]) == ""


def test_every_bin_is_drawn_inside_the_square() -> None:
    found = read_bins(counted(told(*calibrated(400), sigma=1.0), LAYOUT), LAYOUT)
    for one in found:
        at = one.drawn
        assert 36 <= at["x0"] < at["x"] < at["x1"] <= 166
        assert 8 <= at["hi"] <= at["y"] <= at["lo"] <= 138
        assert at["top"] < at["bottom"]
