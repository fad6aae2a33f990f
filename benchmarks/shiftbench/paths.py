"""Judge whole paths: those that change and those that must stay quiet.

A path is a reference of ``WINDOWS`` windows, ``BEFORE`` unchanged ones and some after a change.
The delay is 0 where the first changed window alarms, which the rule for single windows rules
out; NaN where no alarm of the kind came. An alarm before the change counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from bank import LAYOUT, Rows
from draws import RENAMED, SHIFTS, Hospital, Shift
from trials import AFTER, EVEN, Setting, Tally, dealt, read, reference, told

from fedrad.shift.alarms import Judgement, judge
from fedrad.shift.cusum import thresholds
from fedrad.shift.reference import WINDOWS
from fedrad.shift.statistics import readings

BEFORE = 8  # unchanged windows between the reference and the change
RAMP = 6  # windows over which a change grows to its whole
YEAR = 12

PATHS: dict[str, tuple[Shift, str]] = {
    "gain H": (SHIFTS["gain H"], "image"),
    "gamma H": (SHIFTS["gamma H"], "image"),
    "noise H": (SHIFTS["noise H"], "image"),
    "resolution H": (SHIFTS["resolution H"], "image"),
    "firmware": (SHIFTS["firmware"], "image"),
    "gain L": (SHIFTS["gain L"], "image"),
    "gamma L": (SHIFTS["gamma L"], "image"),
    "noise L": (SHIFTS["noise L"], "image"),
    "blur L": (SHIFTS["blur L"], "image"),
    "scanner 100 %": (SHIFTS["scanner 100 %"], "acquisition"),
    "scanner 30 %": (SHIFTS["scanner 30 %"], "acquisition"),
    "prevalence .55": (SHIFTS["prevalence .55"], "label"),
    "label noise 30 %": (SHIFTS["label noise 30 %"], "concept"),
    "population H": (SHIFTS["population H"], "population"),
}


@dataclass(frozen=True)
class Late:
    """When an alarm of a kind came after a change, and how far off its date is; in windows."""

    delay: float
    error: float


def delays(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths with a lasting change, sudden or grown over ``RAMP`` windows."""
    tally = Tally()
    for site, draw, hospital in dealt(setting, "delay", draws):
        quiet_rows = [hospital.window() for _ in range(WINDOWS + BEFORE)]
        hospital.settle()
        changed = {
            name: (_drawn(hospital, [shift] * AFTER), kind) for name, (shift, kind) in PATHS.items()
        }
        changed["ramp to gamma H"] = (_drawn(hospital, _ramp("gamma H")), "image")
        for epsilon in epsilons:
            key = (setting.seed, site, draw, "delay", str(epsilon))
            before = reference(quiet_rows[:WINDOWS], epsilon, key)
            limits = thresholds(before, windows=WINDOWS)
            steady = [
                readings(told(one, epsilon, (*key, "later", k)), before, LAYOUT)
                for k, one in enumerate(quiet_rows[WINDOWS:])
            ]
            for name, (rows, kind) in changed.items():
                after = [
                    readings(told(one, epsilon, (*key, name, k)), before, LAYOUT)
                    for k, one in enumerate(rows)
                ]
                judged = judge([*steady, *after], limits)
                count_late(tally, f"{name}|{epsilon:g}", judged, (kind, f"{site} {draw}"))
    return tally


def must_not_alarm(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths with a rename of tags, one bad window, and two kinds of seasons."""
    tally = Tally()
    for site, draw, hospital in dealt(setting, "notes", draws):
        quiet_rows = [hospital.window() for _ in range(WINDOWS + BEFORE)]
        rest = [hospital.window() for _ in range(4)]
        bad = hospital.window(SHIFTS["gamma H"])
        renamed = [hospital.window(RENAMED) for _ in range(AFTER - 1)]
        seasons = [hospital.window(_season(k)) for k in range(WINDOWS + YEAR)]
        cases = {
            "unchanged": [*quiet_rows, *rest],
            "one bad window": [*quiet_rows, bad, *rest],
            "tags renamed": [*quiet_rows, *renamed],
            "seasons of prevalence": seasons,
        }
        _judge_cases(tally, cases, epsilons, (setting.seed, site, draw))
    for site, draw, hospital in dealt(setting, "seasons", draws):
        cases = {"seasons of images": _drawn(hospital, [_light(k) for k in range(WINDOWS + YEAR)])}
        _judge_cases(tally, cases, epsilons, (setting.seed, site, draw))
    return tally


def _drawn(hospital: Hospital, changes: Sequence[Shift]) -> list[Rows]:
    """Return windows under changes, whose patients later ones may draw again."""
    rows = [hospital.window(shift) for shift in changes]
    hospital.give_back(changes[-1])
    return rows


def _ramp(name: str) -> list[Shift]:
    """More of the exams change from window to window."""
    return [replace(SHIFTS[name], share=(k + 1) / RAMP) for k in range(RAMP)]


def _season(number: int) -> Shift:
    """Prevalence goes up and down by 3 points around .30 over a year."""
    return Shift(prevalence=0.30 + 0.03 * float(np.sin(2 * np.pi * number / YEAR)))


def _light(number: int) -> Shift:
    """The mean gain goes up and down by 1 % over a year: of a share of images by all of it."""
    up = float(np.sin(2 * np.pi * number / YEAR))
    return replace(EVEN, condition="brighter" if up > 0 else "darker", share=abs(up))


def _judge_cases(
    tally: Tally,
    cases: Mapping[str, list[Rows]],
    epsilons: Sequence[float],
    which: tuple[int, str, int],
) -> None:
    seed, site, draw = which
    for name, rows in cases.items():
        for epsilon in epsilons:
            judged = judge(*read(rows, epsilon, (seed, site, draw, name, str(epsilon))))
            tally.add(f"{name}|{epsilon:g}", bool(judged.alarms), f"{site} {draw}")
            tally.add(f"{name}|{epsilon:g}|note", bool(judged.notes), f"{site} {draw}")


def late(judged: Judgement, kind: str) -> Late:
    """Return how late the first alarm of a kind is after ``BEFORE`` unchanged windows."""
    right = [alarm for alarm in judged.alarms if alarm.kind == kind and alarm.window >= BEFORE]
    early = any(alarm.window < BEFORE for alarm in judged.alarms)
    if not right or early:
        return Late(float("nan"), float("nan"))
    first = min(right, key=lambda alarm: alarm.window)
    return Late(float(first.window - BEFORE), float(first.since - BEFORE))


def count_late(tally: Tally, name: str, judged: Judgement, which: tuple[str, str]) -> None:
    """Count whether a change was found by an alarm of its kind, when, and how well dated."""
    kind, cluster = which
    found = late(judged, kind)
    tally.add(f"{name}|found", not np.isnan(found.delay), cluster)
    tally.add(f"{name}|delay", found.delay, cluster)
    tally.add(f"{name}|error", abs(found.error), cluster)
    tally.add(f"{name}|early", any(alarm.window < BEFORE for alarm in judged.alarms), cluster)
