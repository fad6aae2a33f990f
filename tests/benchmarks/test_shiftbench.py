"""A slice of ShiftBench with fixed draws: strong shifts are seen, unchanged windows are not.

Floors are loose, so that only a detector that broke goes under them; that they notice one is
tested too, with windows in which nothing was changed in the place of changed ones.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "shiftbench"))

from bank import HOSPITALS, SCORED, conditions
from comparators import Monitors, farthest
from draws import NONE, SHIFTS, Hospital, Shift
from paths import BEFORE, count_late
from rates import Clusters, rate
from run import PARTS, code, measured, missing, read_out
from trials import WEIGHTS, Setting, Tally, combined, dealt, power

from fedrad.shift.alarms import Alarm, Judgement
from fedrad.shift.statistics import Reading

STRONG = {"gamma H": "image", "scanner 100 %": "acquisition", "prevalence .55": "label"}
SITE, EPSILON, DRAWS = "calibration-1", 2.0, 4


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(
        folder=tmp_path_factory.mktemp("bank"),
        patients=3600,
        seed=4,
        sites=(SITE,),
        shifted=700,
        nulls=6,
        shifts={name: SHIFTS[name] for name in (*STRONG, "label noise 30 %")},
    )


@pytest.fixture(scope="module")
def found(setting: Setting) -> Tally:
    return power(setting, range(DRAWS), (EPSILON,))


def broken(trials: dict[str, dict[str, list[float]]]) -> list[str]:
    """Return every floor that trials are under."""
    seen = {name: rate(clusters)[0] for name, clusters in trials.items()}
    low = [name for name in STRONG if seen[f"{name}|{EPSILON:g}"] < 0.8]
    low += [f"{name}, {who}" for name, who in STRONG.items() if seen[f"{name}|2|{who}"] < 0.8]
    low += ["label noise"] if seen["label noise 30 %|2|pooled"] < 0.6 else []
    return low + [name for name in ("null|2", "null|raw KS", "null|raw MMD") if seen[name] > 0.25]


def test_strong_shifts_are_seen_by_their_channels_and_unchanged_windows_are_not(
    found: Tally,
) -> None:
    assert broken(found.values) == []


def test_the_floors_notice_a_detector_that_is_shown_unchanged_windows(setting: Setting) -> None:
    blind = replace(setting, shifts=dict.fromkeys(setting.shifts, NONE), nulls=3)
    low = broken(power(blind, range(2), (EPSILON,)).values)
    assert set(STRONG) <= set(low)
    assert "label noise" in low


def test_labels_are_not_judged_where_images_changed(found: Tally) -> None:
    assert rate(found.values["gamma H|2|abstains"])[0] == 1
    assert rate(found.values["null|2|abstains"])[0] < 0.4


def test_a_draw_is_the_same_whoever_makes_it(setting: Setting, found: Tally) -> None:
    _, alone, _ = measured((replace(setting, shifts={"gamma H": SHIFTS["gamma H"]}), "power", 1))
    cluster = f"{SITE} 1"
    assert alone["null|2"] == {cluster: found.values["null|2"][cluster]}


def test_draws_that_were_made_are_not_made_again(setting: Setting, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    todo = missing(setting, list(PARTS), share=0.05, out=out)
    assert {part for _, part, _ in todo} == set(PARTS)
    line = {"part": "null", "site": SITE, "draw": 2, "values": {"path|2": {f"{SITE} 2": [1.0]}}}
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n" + '{"part": "cut o')
    assert len(missing(setting, list(PARTS), share=0.05, out=out)) == len(todo) - 1
    assert read_out(out)["null"]["path|2"] == {f"{SITE} 2": [1.0]}


def test_draws_of_another_seed_are_not_mixed_in(setting: Setting, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    missing(setting, ["null"], share=0.05, out=out)
    assert code() in out.read_text()
    with pytest.raises(SystemExit, match="was begun with"):
        missing(replace(setting, seed=5), ["null"], share=0.05, out=out)


def test_readers_miss_or_turn_over_the_labels_that_a_shift_says(setting: Setting) -> None:
    _, _, hospital = next(dealt(setting, "power", range(7, 8)))
    missed = hospital.window(Shift(missed=0.5))
    large = hospital.window(Shift(smallest=0.05))
    assert (missed.lesion[missed.labels == 1] > 0).all()
    assert 0.3 < missed.labels.sum() / (missed.lesion > 0).sum() < 0.7
    assert np.array_equal(large.labels == 1, large.lesion >= 0.05)


def test_scored_hospitals_chose_no_constant_and_conditions_change_one_thing() -> None:
    machine = HOSPITALS[SITE]
    assert SITE not in SCORED
    assert conditions(machine)["rename"] == replace(machine, maker="CARESTREAM")
    assert conditions(machine)["firmware"].maker == machine.maker
    changed = {name: found for name, found in conditions(machine).items() if found != machine}
    assert set(conditions(machine)) - set(changed) == {"population L", "population H"}


def test_distances_of_distributions_are_those_of_scipy() -> None:
    rng = np.random.default_rng(6)
    ties = rng.integers(5, size=(2, 30)).astype(float)
    for a, b in ((rng.normal(size=40), rng.normal(0.3, 1, 70)), (ties[0], ties[1])):
        assert farthest(a, np.sort(b)) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)


def test_every_monitor_of_raw_rows_sees_a_strong_shift_of_grey_levels(setting: Setting) -> None:
    rng = np.random.default_rng(8)
    hospital = Hospital(SITE, rng, bank=(setting.folder, setting.patients), shifted=setting.shifted)
    monitors = Monitors([hospital.window() for _ in range(6)], rng)
    assert all(monitors.seen(hospital.window(SHIFTS["gamma H"])).values())


@pytest.mark.parametrize(
    ("alarms", "found", "delay"),
    [
        ([Alarm("image", "image", BEFORE + 2, BEFORE + 1)], 1.0, 2.0),
        ([Alarm("image", "acquisition", BEFORE + 2, BEFORE + 1)], 0.0, np.nan),
        ([Alarm("label", "label", 3, 2), Alarm("image", "image", BEFORE + 1, BEFORE)], 0.0, np.nan),
    ],
)
def test_a_change_is_found_by_its_kind_after_it_and_not_after_a_false_alarm(
    alarms: list[Alarm], found: float, delay: float
) -> None:
    tally = Tally()
    count_late(tally, "x", Judgement(tuple(alarms), (), {}), ("image", "draw"))
    assert tally.values["x|found"]["draw"] == [found]
    assert np.array_equal(tally.values["x|delay"]["draw"], [delay], equal_nan=True)


def test_windows_that_share_a_reference_count_for_less() -> None:
    alike: Clusters = {f"draw {k}": [float(k % 4 == 0)] * 5 for k in range(40)}
    apart: Clusters = {f"draw {k}": [float(k % 4 == 0)] for k in range(200)}
    assert rate(alike)[0] == rate(apart)[0] == 0.25
    assert rate(alike)[2] - rate(alike)[1] > 1.8 * (rate(apart)[2] - rate(apart)[1])


@pytest.mark.parametrize("missing", [(), ("label", "concept")])
def test_an_unchanged_window_counts_as_seen_as_rarely_as_is_said(missing: tuple[str, ...]) -> None:
    rng, names = np.random.default_rng(3), [name for name in WEIGHTS if name not in missing]
    seen = [
        combined({name: Reading(name, "", 0.0, p) for name, p in zip(names, row, strict=True)})
        for row in rng.uniform(size=(4000, len(names)))
    ]
    assert 0.035 < np.mean(np.array(seen) < 0.05) < 0.06
    assert combined({}) == 1.0
