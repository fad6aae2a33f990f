"""Hold each goal against what was measured: met, missed, or not shown.

A goal is met where the whole 95 % interval lies on its side and as many trials were made as it
asks for; missed where the whole interval lies on the other; else it is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rates import ADDED, MILD, OTHERS, STRONG, Clusters, Trials, joined, median, rate, ratio, short

WINDOWS, NULLS, PATHS = 400, 2000, 400  # trials asked for: a power cell, unchanged windows, paths
AFTER = 3
DELAYED = {
    "strong": (
        "gain H",
        "gamma H",
        "noise H",
        "resolution H",
        "firmware",
        "scanner 100 %",
        "population H",
    ),
    "mild image": ("gain L", "gamma L", "noise L"),
}
QUIET = ("tags renamed", "one bad window", "seasons of prevalence", "seasons of images")


@dataclass(frozen=True)
class Goal:
    """A value with its interval, the range in which it should lie, and how many trials it has."""

    title: str
    value: float
    interval: tuple[float, float]
    wanted: tuple[float, float]
    trials: tuple[int, int]  # made, asked

    @property
    def verdict(self) -> str:
        """Return met, missed or not shown."""
        lo, hi = self.interval
        if hi < self.wanted[0] or lo > self.wanted[1]:
            return "missed"
        inside = self.wanted[0] <= lo and hi <= self.wanted[1]
        enough = self.trials[0] >= self.trials[1]
        return "met" if inside and enough else "not shown"


def verdicts(trials: Trials) -> str:
    """Return a row for each goal whose trials were made."""
    lines = ["| goal | wanted | measured (trials) | verdict |", "|---|---|---|---|"]
    for goal in (*_powers(trials), *_false_alarms(trials), *_delays(trials), *_silence(trials)):
        wanted = _range(goal.wanted)
        value, lo, hi = (short(one) for one in (goal.value, *goal.interval))
        found = f"{value} [{lo}, {hi}]"
        lines.append(f"| {goal.title} | {wanted} | {found} ({goal.trials[0]}) | {goal.verdict} |")
    return "\n".join(lines)


def _range(wanted: tuple[float, float]) -> str:
    lo, hi = wanted
    if np.isinf(hi):
        return f"≥ {lo:g}"
    return f"≤ {hi:g}" if np.isinf(lo) else f"{lo:g} to {hi:g}"


def _powers(trials: Trials) -> Iterator[Goal]:
    found = trials.get("power", {})
    if "null|2" not in found:
        return
    strong = (*STRONG, "bias field H", "firmware")
    yield _share(found, "strong shifts, epsilon 2", [f"{n}|2" for n in strong], least=0.95)
    for name in strong:
        yield _share(found, f"{name}, epsilon 2", [f"{name}|2"], least=0.95)
    yield _share(found, "mean of mild shifts, epsilon 2", [f"{n}|2" for n in MILD], least=0.95)
    blur = _share(found, "blur L, epsilon 2, three as one", ["blur L|2|pooled"], least=0.60)
    yield _of_three(blur)
    yield _share(found, "prevalence .55, epsilon 2", ["prevalence .55|2"], least=0.95)
    yield _share(found, "prevalence .42, epsilon 2", ["prevalence .42|2"], least=0.55)
    flipped = ["label noise 30 %|4|pooled"]
    yield _of_three(_share(found, "30 % of labels, epsilon 4, three as one", flipped, least=0.90))
    moved = (*STRONG[:5], "scanner 100 %", *MILD, *ADDED)
    for e in (4, 2):
        abstains = [f"{name}|{e}|abstains" for name in moved]
        yield _share(
            found, f"labels not judged under image shifts, epsilon {e}", abstains, least=0.95
        )
    for e, least in ((4, 1.0), (2, 0.97)):
        value, lo, hi = ratio(found, f"{e}", [*STRONG, *MILD, *OTHERS])
        made = rate(found[f"null|{e}"])[3]
        title = f"mean power over that of KS on raw rows, epsilon {e}"
        yield Goal(title, value, (lo, hi), (least, np.inf), (made, WINDOWS))


def _of_three(goal: Goal) -> Goal:
    """Return a goal whose trials are three windows each."""
    made = (AFTER * goal.trials[0], goal.trials[1])
    return Goal(goal.title, goal.value, goal.interval, goal.wanted, made)


def _share(
    found: Mapping[str, Clusters], title: str, names: Sequence[str], *, least: float
) -> Goal:
    """Return a power; the trials are those of the shift that has fewest."""
    value, lo, hi, _ = rate(joined(found, names))
    made = min(rate(found[name])[3] for name in names)
    return Goal(title, value, (lo, hi), (least, np.inf), (made, WINDOWS))


def _false_alarms(trials: Trials) -> Iterator[Goal]:
    found = trials.get("null", {})
    for e in (4, 2):
        if f"window|{e}" in found:
            value, lo, hi, made = rate(found[f"window|{e}"])
            title = f"unchanged windows seen, epsilon {e}"
            yield Goal(title, value, (lo, hi), (0.03, 0.07), (made, NULLS))
            value, lo, hi, made = rate(found[f"path|{e}"])
            title = f"unchanged paths of 50 windows with an alarm, epsilon {e}"
            yield Goal(title, value, (lo, hi), (-np.inf, 0.12), (made, PATHS))


def _delays(trials: Trials) -> Iterator[Goal]:
    found = trials.get("delay", {})
    for e in (4, 2):
        if f"gamma H|{e}|found" not in found:
            continue
        for who, most in (("strong", 1), ("mild image", 2)):
            for kind, limit in (("delay", most), ("error", 1)):
                names = [f"{name}|{e}|{kind}" for name in DELAYED[who]]
                values = [v for own in joined(found, names).values() for v in own]
                known = values if kind == "delay" else [v for v in values if not np.isnan(v)]
                middle, lo, hi = median(known)
                what = "median delay" if kind == "delay" else "median error of the date"
                made = (len(known), WINDOWS // AFTER)
                yield Goal(f"{what}, {who}, epsilon {e}", middle, (lo, hi), (-np.inf, limit), made)
    if "label noise 30 %|4|found" in found:
        title = "30 % of labels, epsilon 4: alarm of kind concept in three windows"
        yield _of_three(_share(found, title, ["label noise 30 %|4|found"], least=0.90))


def _silence(trials: Trials) -> Iterator[Goal]:
    """No alarm at all is asked for, which no number of paths can show: below 3 % stands for it."""
    found = trials.get("quiet", {})
    for name in QUIET:
        for e in (4, 2):
            if f"{name}|{e}" in found:
                value, lo, hi, made = rate(found[f"{name}|{e}"])
                title = f"{name}, epsilon {e}: paths with an alarm, none wanted"
                yield Goal(title, value, (lo, hi), (-np.inf, 0.03), (made, WINDOWS // AFTER))
