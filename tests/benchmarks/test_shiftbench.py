"""A slice of ShiftBench with fixed draws: each shift is found by its channel, none by nobody."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "shiftbench"))

from bank import HOSPITALS, LAYOUT, conditions
from draws import SHIFTS, Hospital, Shift, released
from rates import rate

from fedrad.shift.reference import Reference, reference_of
from fedrad.shift.statistics import Reading, readings

SITE, PATIENTS, SHIFTED, EPSILON = "calibration-1", 1900, 260, 2.0


@pytest.fixture(scope="module")
def dealt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hospital, Reference]:
    folder = tmp_path_factory.mktemp("bank")
    hospital = Hospital(SITE, np.random.default_rng(4), bank=(folder, PATIENTS), shifted=SHIFTED)
    windows = [released("w", hospital.window(), epsilon=EPSILON, key=("r", k)) for k in range(6)]
    hospital.settle()
    return hospital, reference_of(windows, LAYOUT)


def read(dealt: tuple[Hospital, Reference], shift: Shift, key: str) -> dict[str, Reading]:
    hospital, before = dealt
    window = released("w", hospital.window(shift), epsilon=EPSILON, key=("later", key))
    hospital.give_back(shift)
    return readings(window, before, LAYOUT)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("gamma H", "image"),
        ("scanner 100 %", "acquisition"),
        ("prevalence .55", "label"),
    ],
)
def test_a_strong_shift_is_seen_by_its_channel(
    dealt: tuple[Hospital, Reference], name: str, channel: str
) -> None:
    assert read(dealt, SHIFTS[name], name)[channel].p < 1e-3


def test_unchanged_windows_are_as_before(dealt: tuple[Hospital, Reference]) -> None:
    found = [read(dealt, Shift(), f"null {k}") for k in range(10)]
    assert np.mean([reading.p < 0.05 for one in found for reading in one.values()]) < 0.2


def test_scored_hospitals_chose_no_constant_and_conditions_change_one_thing() -> None:
    machine = HOSPITALS[SITE]
    assert conditions(machine)["rename"] == replace(machine, maker="CARESTREAM")
    changed = {name: found for name, found in conditions(machine).items() if found != machine}
    assert set(conditions(machine)) - set(changed) == {"population L", "population H"}


def test_windows_that_share_a_reference_count_for_less() -> None:
    alike = {f"draw {k}": [float(k % 4 == 0)] * 5 for k in range(40)}
    apart = {f"draw {k}": [float(k % 4 == 0)] for k in range(200)}
    assert rate(alike)[0] == rate(apart)[0] == 0.25
    assert rate(alike)[2] - rate(alike)[1] > 1.8 * (rate(apart)[2] - rate(apart)[1])
