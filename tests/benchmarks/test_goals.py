"""A goal is met only by an interval on its side from as many trials as it asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "shiftbench"))

from goals import Goal, verdicts
from rates import MILD, OTHERS, STRONG, median, ratio


@pytest.mark.parametrize(
    ("interval", "made", "said"),
    [
        ((0.96, 1.0), 400, "met"),
        ((0.96, 1.0), 399, "not shown"),
        ((0.94, 1.0), 4000, "not shown"),
        ((0.50, 0.94), 40, "missed"),
    ],
)
def test_a_verdict_needs_the_whole_interval_and_enough_trials(
    interval: tuple[float, float], made: int, said: str
) -> None:
    assert Goal("power", 0.97, interval, (0.95, np.inf), (made, 400)).verdict == said


def test_a_range_is_missed_on_both_sides_and_met_inside() -> None:
    def says(lo: float, hi: float) -> str:
        return Goal("windows", (lo + hi) / 2, (lo, hi), (0.03, 0.07), (2000, 2000)).verdict

    assert [says(0.0, 0.02), says(0.035, 0.06), says(0.08, 0.1)] == ["missed", "met", "missed"]
    assert says(0.02, 0.05) == "not shown"


def test_what_was_never_found_is_later_than_anything() -> None:
    middle, lo, hi = median([1.0, 2.0, float("nan"), float("nan"), float("nan")])
    assert middle == hi == np.inf
    assert lo <= 2.0
    assert median([1.0] * 50)[0] == 1.0


def test_powers_are_compared_draw_by_draw() -> None:
    draws = [f"site {k}" for k in range(20)]
    trials = {"null|2": {draw: [0.0] for draw in draws}}
    for name in (*STRONG, *MILD, *OTHERS):
        trials[f"{name}|raw KS"] = {draw: [1.0, 1.0] for draw in draws}
        trials[f"{name}|2"] = {draw: [1.0, float(k % 2)] for k, draw in enumerate(draws)}
    share, lo, hi = ratio(trials, "2", [*STRONG, *MILD, *OTHERS])
    assert share == pytest.approx(0.75)
    assert lo < 0.70
    assert hi > 0.80


def test_a_table_says_who_has_too_few_trials() -> None:
    paths = {f"draw {k}": [0.0] for k in range(100)}
    windows = {f"draw {k}": [0.0] * 19 + [1.0] for k in range(100)}
    said = verdicts({"null": {"window|2": windows, "path|2": paths}})
    rows = said.splitlines()[2:]
    assert [row.rsplit("| ", 1)[1] for row in rows] == ["met |", "not shown |"]
    assert "0.03 to 0.07 | .05 [" in rows[0]
    assert "(100)" in rows[1]
