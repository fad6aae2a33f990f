"""What is measured of single windows and unchanged paths: power and false alarms.

Each trial draws a hospital, makes its reference of ``WINDOWS`` released windows and reads later
ones. Rates come as (hits, windows); how sure they are is ``rates``' business, paths with a
change that of ``paths``, and monitors with raw rows that of ``comparators``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bank import LAYOUT, SCORED, Rows
from comparators import Monitors
from draws import NONE, SEASONAL, SHIFTED, SHIFTS, Hospital, Shift, released

from fedrad import seeds
from fedrad.shift.alarms import judge
from fedrad.shift.blocks import Layout
from fedrad.shift.cusum import HORIZON, thresholds
from fedrad.shift.prevalence import quiet
from fedrad.shift.reference import WINDOWS, Reference, reference_of
from fedrad.shift.statistics import Reading, readings
from fedrad.shift.windows import Released, together

LEVEL = 0.05
WEIGHTS: Mapping[str, float] = {
    "image": 0.3,
    "acquisition": 0.05,
    "label": 0.35,
    "concept": 0.2,
    "population": 0.1,
}
"""How one window's false alarms are shared out: most to what is hardest to see."""
AFTER = 3  # windows after a change
NULLS = 15  # unchanged windows against the reference that the shifts are read against
EVEN = Shift(prevalence=0.32)  # of long unchanged paths, so that the bank's negatives last


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How large a run is; the seed is that of the draws."""

    folder: Path
    patients: int
    seed: int
    sites: tuple[str, ...] = SCORED
    shifted: int = SHIFTED  # patients under each condition
    nulls: int = NULLS
    shifts: Mapping[str, Shift] = field(default_factory=lambda: SHIFTS)


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
    for site, draw, hospital in dealt(setting, "power", draws):
        rows, cluster = [hospital.window() for _ in range(WINDOWS)], f"{site} {draw}"
        noise = seeds.stream(setting.seed, site, draw, "shiftbench splits")
        monitors = Monitors(rows, noise)
        keys = {epsilon: (setting.seed, site, draw, str(epsilon)) for epsilon in epsilons}
        before = {epsilon: reference(rows, epsilon, keys[epsilon]) for epsilon in epsilons}
        hospital.settle()
        for name, shift in {"null": NONE, **setting.shifts}.items():
            after = [
                hospital.window(shift) for _ in range(setting.nulls if name == "null" else AFTER)
            ]
            hospital.give_back(shift)
            for one in after:
                for who, seen in monitors.seen(one).items():
                    tally.add(f"{name}|raw {who}", seen, cluster)
            for epsilon, own in before.items():
                here = [told(w, epsilon, (*keys[epsilon], name, k)) for k, w in enumerate(after)]
                count(tally, f"{name}|{epsilon:g}", here, (own, cluster))
    return tally


def count(
    tally: Tally,
    name: str,
    here: Sequence[Released],
    against: tuple[Reference, str],
    layout: Layout = LAYOUT,
) -> None:
    """Count which windows are seen by whom, one by one and ``AFTER`` as one."""
    before, cluster = against
    for one in here:
        found = readings(one, before, layout)
        tally.add(name, combined(found) < LEVEL, cluster)
        tally.add(f"{name}|abstains", not quiet(found), cluster)
        for channel, reading in found.items():
            tally.add(f"{name}|{channel}", reading.p < LEVEL, cluster)
    for start in range(0, len(here), AFTER):
        whole = readings(together(here[start : start + AFTER]), before, layout)
        tally.add(f"{name}|pooled", combined(whole) < LEVEL, cluster)


def combined(found: Mapping[str, Reading]) -> float:
    """Return one p value for a window: the smallest p over its weight (weighted Bonferroni).

    Weights of channels that are missing go to the others in proportion.
    """
    if not found:
        return 1.0
    whole = sum(WEIGHTS[name] for name in found)
    return min(1.0, *(reading.p * whole / WEIGHTS[name] for name, reading in found.items()))


def false_alarms(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge paths of ``HORIZON`` unchanged windows."""
    tally = Tally()
    for site, draw, hospital in dealt(setting, "null", draws):
        rows, cluster = [hospital.window(EVEN) for _ in range(WINDOWS + HORIZON)], f"{site} {draw}"
        for epsilon in epsilons:
            key = (setting.seed, site, draw, "null", str(epsilon))
            found, limits = read(rows, epsilon, key)
            for window in found:
                tally.add(f"window|{epsilon:g}", combined(window) < LEVEL, cluster)
            judged = judge(found, limits)
            tally.add(f"path|{epsilon:g}", bool(judged.alarms), cluster)
            for channel in limits:
                hit = any(alarm.channel == channel for alarm in judged.alarms)
                tally.add(f"path|{epsilon:g}|{channel}", hit, cluster)
    return tally


def dealt(setting: Setting, what: str, draws: range) -> Iterator[tuple[str, int, Hospital]]:
    """Yield each site's hospital for each draw, dealt by a stream of its own."""
    shifted = {"null": 0, "seasons": SEASONAL}.get(what, setting.shifted)
    for site in setting.sites:
        for draw in draws:
            rng = seeds.stream(setting.seed, site, draw, f"shiftbench {what}")
            bank = (setting.folder, setting.patients)
            yield site, draw, Hospital(site, rng, bank=bank, shifted=shifted)


def read(
    rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...]
) -> tuple[list[dict[str, Reading]], dict[str, float]]:
    """Return the readings of all windows after the reference, and the thresholds there."""
    before = reference(rows[:WINDOWS], epsilon, key)
    later = [
        readings(told(one, epsilon, (*key, "later", k)), before, LAYOUT)
        for k, one in enumerate(rows[WINDOWS:])
    ]
    return later, thresholds(before, windows=WINDOWS)


def reference(
    rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...], layout: Layout = LAYOUT
) -> Reference:
    """Return the reference that releases of these windows make."""
    found = [told(one, epsilon, (*key, "reference", k)) for k, one in enumerate(rows)]
    return reference_of(found, layout)


def told(rows: Rows, epsilon: float, key: tuple[str | int, ...]) -> Released:
    """Return one window as it is released."""
    return released("w", rows, epsilon=epsilon, key=key)
