"""What is measured: power, false alarms, delays, and a comparator that sees raw rows.

Each trial draws a hospital, makes its reference of ``WINDOWS`` released windows and reads later
ones. Rates come as (hits, windows); how sure they are is ``table``'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bank import LAYOUT, SCORED, Floats, Rows
from draws import NONE, RENAMED, SHIFTED, SHIFTS, Hospital, Shift, released
from scipy.stats import chi2, kstwobign

from fedrad import seeds
from fedrad.shift.alarms import Judgement, judge
from fedrad.shift.blocks import cells
from fedrad.shift.cusum import HORIZON, thresholds
from fedrad.shift.prevalence import quiet
from fedrad.shift.reference import WINDOWS, Reference, reference_of
from fedrad.shift.statistics import Reading, combined, readings
from fedrad.shift.windows import Released, together

LEVEL = 0.05
AFTER = 3  # windows after a change: as many as the bank of shifted patients holds
BEFORE = 8  # unchanged windows between the reference and the change


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How large a run is; the seed is that of the draws."""

    folder: Path
    patients: int
    seed: int
    sites: tuple[str, ...] = SCORED


class Tally:
    """Values of trials by name, kept apart by the draw that they share a reference with."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}

    def add(self, name: str, value: float, cluster: str) -> None:
        """Count one trial: 1 for a hit, 0 for none; delays are numbers of windows."""
        self.values.setdefault(name, {}).setdefault(cluster, []).append(float(value))


def power(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Read ``AFTER`` windows under each shift, one by one and as one, against one reference."""
    tally = Tally()
    for site, draw, hospital in _dealt(setting, "power", draws):
        rows = [hospital.window() for _ in range(WINDOWS)]
        raw = _stacked(rows)
        hospital.settle()
        for name, shift in {"null": NONE, **SHIFTS}.items():
            after = [hospital.window(shift) for _ in range(AFTER)]
            for one in after:
                tally.add(f"{name}|raw", _raw_p(one, raw) < LEVEL, f"{site} {draw}")
            for epsilon in epsilons:
                key = (setting.seed, site, draw, str(epsilon))
                before = _reference(rows, epsilon, key)
                here = [_told(one, epsilon, (*key, name, k)) for k, one in enumerate(after)]
                _count(tally, f"{name}|{epsilon:g}", here, (before, f"{site} {draw}"))
            hospital.give_back(shift)
    return tally


def _count(
    tally: Tally, name: str, here: Sequence[Released], against: tuple[Reference, str]
) -> None:
    before, cluster = against
    for one in here:
        found = readings(one, before, LAYOUT)
        tally.add(name, combined(found) < LEVEL, cluster)
        tally.add(f"{name}|abstains", not quiet(found), cluster)
        for channel, reading in found.items():
            tally.add(f"{name}|{channel}", reading.p < LEVEL, cluster)
    pooled = combined(readings(together(here), before, LAYOUT))
    tally.add(f"{name}|pooled", pooled < LEVEL, cluster)


def false_alarms(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths of ``HORIZON`` unchanged windows.

    Prevalence is .32 in all of them, so that the bank's negatives last for a path.
    """
    tally, same = Tally(), Shift(prevalence=0.32)
    for site, draw, hospital in _dealt(setting, "null", draws):
        rows = [hospital.window(same) for _ in range(WINDOWS + HORIZON)]
        for epsilon in epsilons:
            key = (setting.seed, site, draw, "null", str(epsilon))
            found, limits = _read(rows, epsilon, key)
            for window in found:
                tally.add(f"window|{epsilon:g}", combined(window) < LEVEL, f"{site} {draw}")
            judged = judge(found, limits)
            tally.add(f"path|{epsilon:g}", bool(judged.alarms), f"{site} {draw}")
            for channel in limits:
                hit = any(alarm.channel == channel for alarm in judged.alarms)
                tally.add(f"path|{epsilon:g}|{channel}", hit, f"{site} {draw}")
    return tally


PATHS: dict[str, tuple[Shift, str]] = {
    "gamma H": (SHIFTS["gamma H"], "image"),
    "gamma L": (SHIFTS["gamma L"], "image"),
    "blur L": (SHIFTS["blur L"], "image"),
    "scanner 100 %": (SHIFTS["scanner 100 %"], "acquisition"),
    "scanner 30 %": (SHIFTS["scanner 30 %"], "acquisition"),
    "prevalence .55": (SHIFTS["prevalence .55"], "label"),
    "label noise 30 %": (SHIFTS["label noise 30 %"], "concept"),
}


def delays(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths with a lasting change: found or not, delay, and error of its date.

    The delay is 0 where the first changed window alarms, which the rule for single windows
    rules out; NaN where no alarm of the kind came. An alarm before the change counts as none.
    """
    tally = Tally()
    for site, draw, hospital in _dealt(setting, "delay", draws):
        quiet_rows = [hospital.window() for _ in range(WINDOWS + BEFORE)]
        hospital.settle()
        for name, (shift, kind) in PATHS.items():
            after = [hospital.window(shift) for _ in range(AFTER)]
            hospital.give_back(shift)
            for epsilon in epsilons:
                key = (setting.seed, site, draw, "delay", name, str(epsilon))
                delay, error = _delay(judge(*_read([*quiet_rows, *after], epsilon, key)), kind)
                cluster = f"{site} {draw}"
                tally.add(f"{name}|{epsilon:g}|found", not np.isnan(delay), cluster)
                tally.add(f"{name}|{epsilon:g}|delay", delay, cluster)
                tally.add(f"{name}|{epsilon:g}|error", abs(error), cluster)
    return tally


def must_not_alarm(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths with a rename of tags, one bad window, and a year of seasons."""
    tally = Tally()
    for site, draw, hospital in _dealt(setting, "notes", draws):
        quiet_rows = [hospital.window() for _ in range(WINDOWS + BEFORE)]
        rest = [hospital.window() for _ in range(4)]
        bad = hospital.window(SHIFTS["gamma H"])
        renamed = [hospital.window(RENAMED) for _ in range(AFTER - 1)]
        seasons = [hospital.window(_season(k)) for k in range(WINDOWS + 12)]
        cases = {
            "unchanged": [*quiet_rows, *rest],
            "one bad window": [*quiet_rows, bad, *rest],
            "tags renamed": [*quiet_rows, *renamed],
            "seasons": seasons,
        }
        for name, rows in cases.items():
            for epsilon in epsilons:
                key = (setting.seed, site, draw, name, str(epsilon))
                judged = judge(*_read(rows, epsilon, key))
                tally.add(f"{name}|{epsilon:g}", bool(judged.alarms), f"{site} {draw}")
                tally.add(f"{name}|{epsilon:g}|note", bool(judged.notes), f"{site} {draw}")
    return tally


def _season(number: int) -> Shift:
    """Prevalence goes up and down by 3 points around .30 over twelve windows."""
    return Shift(prevalence=0.30 + 0.03 * float(np.sin(2 * np.pi * number / 12)))


def _delay(judged: Judgement, kind: str) -> tuple[float, float]:
    """Return delay and error of the date of the first alarm of a kind."""
    right = [alarm for alarm in judged.alarms if alarm.kind == kind and alarm.window >= BEFORE]
    early = any(alarm.window < BEFORE for alarm in judged.alarms)
    if not right or early:
        return float("nan"), float("nan")
    first = min(right, key=lambda alarm: alarm.window)
    return float(first.window - BEFORE), float(first.since - BEFORE)


def _dealt(setting: Setting, what: str, draws: range) -> Iterator[tuple[str, int, Hospital]]:
    for site in setting.sites:
        for draw in draws:
            rng = seeds.stream(setting.seed, site, draw, f"shiftbench {what}")
            bank = (setting.folder, setting.patients)
            shifted = 0 if what == "null" else SHIFTED
            hospital = Hospital(site, rng, bank=bank, shifted=shifted)
            yield site, draw, hospital


def _read(
    rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...]
) -> tuple[list[dict[str, Reading]], dict[str, float]]:
    before = _reference(rows[:WINDOWS], epsilon, key)
    later = [
        readings(_told(one, epsilon, (*key, "later", k)), before, LAYOUT)
        for k, one in enumerate(rows[WINDOWS:])
    ]
    return later, thresholds(before, windows=WINDOWS)


def _reference(rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...]) -> Reference:
    told = [_told(one, epsilon, (*key, "reference", k)) for k, one in enumerate(rows)]
    return reference_of(told, LAYOUT)


def _told(rows: Rows, epsilon: float, key: tuple[str | int, ...]) -> Released:
    return released("w", rows, epsilon=epsilon, key=key)


def _stacked(rows: Sequence[Rows]) -> Rows:
    names = Rows.__dataclass_fields__
    return Rows(**{name: np.concatenate([getattr(one, name) for one in rows]) for name in names})


def _raw_p(window: Rows, reference: Rows) -> float:
    """Return Bonferroni's p value over every column of raw rows: what a monitor with data has.

    Kolmogorov-Smirnov for nine descriptors and the score, also within each label; chi-squared
    for tags, sex, age and label.
    """
    found = [_ks(window.raw[:, k], reference.raw[:, k]) for k in range(window.raw.shape[1])]
    found.append(_ks(window.scores, reference.scores))
    for label in (0, 1):
        here, there = window.labels == label, reference.labels == label
        found.append(_ks(window.scores[here], reference.scores[there]))
    tables = [(window.tags[:, p], reference.tags[:, p]) for p in cells(LAYOUT.tags)]
    tables += [
        (window.population[:, p], reference.population[:, p]) for p in cells(LAYOUT.population)
    ]
    tables.append((np.eye(2)[window.labels], np.eye(2)[reference.labels]))
    found += [_homogeneity(a.sum(axis=0), b.sum(axis=0)) for a, b in tables]
    return min(1.0, len(found) * min(found))


def _ks(a: Floats, b: Floats) -> float:
    both = np.concatenate([a, b])
    low = np.searchsorted(np.sort(a), both, side="right") / len(a)
    high = np.searchsorted(np.sort(b), both, side="right") / len(b)
    size = len(a) * len(b) / (len(a) + len(b))
    return float(kstwobign.sf(np.sqrt(size) * np.abs(low - high).max()))


def _homogeneity(a: Floats, b: Floats) -> float:
    seen = (a + b) > 0
    if seen.sum() < 2:
        return 1.0
    table = np.stack([a[seen], b[seen]])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    square = float((np.square(table - expected) / expected).sum())
    return float(chi2.sf(square, int(seen.sum()) - 1))
