"""Which kind is named for windows under a known change: recalls, as an alarm's reader has them.

The diagnosis pools the windows since a change; here one, two and three of them. A kind's recall
is a mean over its shifts. Alarms are not waited for: "nothing changed" is one of the kinds, and
a second table reads the diagnosis as it is read after an alarm, when something has changed.

python benchmarks/shiftbench/kinds.py [--folder FOLDER] [--draws N]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bank import LAYOUT, Floats, Rows
from draws import NONE, SHIFTS, Hospital, Shift
from rates import joined, mean_rate
from trials import Setting, Tally, dealt, reference, told

from fedrad.shift.alarms import judge
from fedrad.shift.cusum import thresholds
from fedrad.shift.diagnosis import features, named, posterior
from fedrad.shift.reference import WINDOWS, Reference
from fedrad.shift.statistics import readings
from fedrad.shift.windows import Released, together

SEED, DRAWS, PATIENTS = 73, 45, 12_800  # scored: never the seed of ``fit_kinds``
EPSILONS = (2.0, 4.0)
AFTER = 3  # windows that are pooled at most
KIND_OF = {
    **dict.fromkeys(("gain", "gamma", "noise", "blur", "resolution", "bias", "firmware"), "image"),
    **dict.fromkeys(("label", "missed", "overcalled", "annotator"), "concept"),
    "scanner": "acquisition",
    "prevalence": "label",
    "population": "population",
    "none": "none",
}
"""The kind of a shift by the first word of its name; a name with a + is of no single kind."""
MORE: dict[str, Shift] = {
    "prevalence .10": Shift(prevalence=0.10),
    "prevalence .20": Shift(prevalence=0.20),
    "missed 50 %": Shift(missed=0.50),
    "gamma L + prevalence .50": Shift(condition="gamma L", prevalence=0.5),
    "scanner + prevalence .50": Shift(condition="scanner", share=0.3, prevalence=0.5),
    "population H + prevalence .50": Shift(condition="population H", prevalence=0.5),
}
EVERY = {"none": NONE, **SHIFTS, **MORE}
BEFORE = 8  # unchanged windows of a path between its reference and the change
HARDER = ("bias", "firmware", "missed", "annotator")  # first words


@dataclass(frozen=True, slots=True)
class Case:
    """The first ``pooled`` windows under one shift, released, against their reference."""

    name: str
    epsilon: float
    pooled: int
    released: Released
    before: Reference
    cluster: str

    @property
    def kind(self) -> str:
        """What it is."""
        return kind_of(self.name)

    def features(self) -> Floats:
        """Return what the diagnosis looks at."""
        found = readings(self.released, self.before, LAYOUT)
        return features([(self.released, self.before)], found, LAYOUT)


def main() -> None:
    """Score the hospitals that nothing was fitted on, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shiftbench")
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    setting = Setting(folder=given.folder, patients=PATIENTS, seed=SEED)
    tally = kinds(setting, range(given.draws), EPSILONS)
    names: dict[str, list[str]] = {}
    for name in EVERY:
        names.setdefault(kind_of(name), []).append(name)
    print(table(tally, names, ""))
    print()
    print(table(tally, {k: own for k, own in names.items() if k != "none"}, "|changed"))
    print()
    print(claims(tally))
    print()
    changed = {k: [n for n in own if n in SHIFTS] for k, own in names.items()}
    changed = {k: own for k, own in changed.items() if own and k != "none"}
    found = alarms(setting, range(given.draws), EPSILONS)
    print(alarm_table(found, changed))


def kind_of(name: str) -> str:
    """Return the kind of a shift by its name."""
    return "unknown" if "+" in name else KIND_OF[name.split(maxsplit=1)[0]]


def kinds(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Count what is named, whether it is right, and claims of another prevalence."""
    tally = Tally()
    for case in cases(setting, draws, epsilons):
        found = posterior([(case.released, case.before)], LAYOUT) or {"none": 1.0}
        said = max(found, key=lambda kind: found[kind])
        key = f"{case.name}|{case.epsilon:g}|{case.pooled}"
        tally.add(key, said == case.kind, case.cluster)
        tally.add(f"{key}|changed", named(found) == case.kind, case.cluster)
        tally.add(f"{key}|says label", said == "label", case.cluster)
    return tally


def alarms(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Count how the alarms of paths with a lasting change are named, as a study would name them.

    Eight unchanged windows, then three under the shift; the first alarm in one of these, read with
    the windows since its own located change. No alarm at all counts as found and named by none.
    """
    tally = Tally()
    for site, draw, hospital in dealt(setting, "named alarms", draws):
        quiet = [hospital.window() for _ in range(WINDOWS + BEFORE)]
        hospital.settle()
        after = {name: _windows(hospital, shift) for name, shift in SHIFTS.items()}
        for epsilon in epsilons:
            key = (setting.seed, site, draw, "named", str(epsilon))
            before = reference(quiet[:WINDOWS], epsilon, key)
            limits = thresholds(before, windows=WINDOWS)
            known = _apart([told(w, epsilon, (*key, k)) for k, w in enumerate(quiet[WINDOWS:])])
            for name, windows in after.items():
                late = [told(one, epsilon, (*key, name, k)) for k, one in enumerate(windows)]
                kind = _named([*known, *late], before, limits)
                said = f"{name}|{epsilon:g}|alarm"
                tally.add(f"{said} found", kind != "", f"{site} {draw}")
                tally.add(f"{said} right", kind == kind_of(name), f"{site} {draw}")
                named_of = float("nan") if not kind else kind == kind_of(name)
                tally.add(f"{said} of found", named_of, f"{site} {draw}")
    return tally


def _named(windows: Sequence[Released], before: Reference, limits: Mapping[str, float]) -> str:
    """Return the kind of the first alarm among the last windows; empty: there is none."""
    found = [readings(one, before, LAYOUT) for one in windows]
    raised = [one for one in judge(found, limits).alarms if one.window >= BEFORE]
    if not raised:
        return ""
    first = min(raised, key=lambda one: one.window)
    whole = together(_apart(windows[first.since : first.window + 1]))
    said = posterior([(whole, before)], LAYOUT)
    return named(said) if said else ""


def cases(setting: Setting, draws: range, epsilons: Sequence[float]) -> Iterator[Case]:
    """Yield every shift's windows, one, two and three of them as one."""
    for site, draw, hospital in dealt(setting, "kinds", draws):
        rows = [hospital.window() for _ in range(WINDOWS)]
        hospital.settle()
        after = {name: _windows(hospital, shift) for name, shift in EVERY.items()}
        for epsilon in epsilons:
            key = (setting.seed, site, draw, "kinds", str(epsilon))
            before = reference(rows, epsilon, key)
            for name, windows in after.items():
                here = [told(one, epsilon, (*key, name, k)) for k, one in enumerate(windows)]
                for pooled in range(1, AFTER + 1):
                    whole = together(_apart(here[:pooled]))
                    yield Case(name, epsilon, pooled, whole, before, f"{site} {draw}")


def balanced(names: Sequence[str], labels: Sequence[str]) -> Floats:
    """Return weights of cases: each kind counts alike, and within it each shift."""
    size = {name: names.count(name) for name in set(names)}
    shifts: dict[str, set[str]] = {}
    for name, label in zip(names, labels, strict=True):
        shifts.setdefault(label, set()).add(name)
    return np.array(
        [1 / (size[n] * len(shifts[k]) * len(shifts)) for n, k in zip(names, labels, strict=True)]
    )


def table(tally: Tally, names: Mapping[str, Sequence[str]], suffix: str) -> str:
    """Return recalls of each kind, of each of its shifts, and their mean over kinds."""
    settings = [(epsilon, k) for epsilon in EPSILONS for k in range(1, AFTER + 1)]
    heads = [f"epsilon {epsilon:g}, windows pooled: {k}" for epsilon, k in settings]
    lines = ["| recall | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    ends = [f"|{epsilon:g}|{k}{suffix}" for epsilon, k in settings]
    for kind, own in names.items():
        for said, of in ((f"**{kind}**", own), *((name, [name]) for name in own)):
            cells = [mean_rate(tally.values, [name + end for name in of]) for end in ends]
            lines.append(f"| {said} | " + " | ".join(cells) + " |")
    known = {kind: own for kind, own in names.items() if kind != "unknown"}
    plain = {kind: [n for n in own if _plain(n)] for kind, own in known.items()}
    for said, groups in (("all shifts", known), ("label noise, .42, .55 and no bias field", plain)):
        cells = [macro(tally, [[n + end for n in own] for own in groups.values()]) for end in ends]
        title = f"**mean of the {len(groups)} kinds but unknown, {said}**"
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def alarm_table(tally: Tally, names: Mapping[str, Sequence[str]]) -> str:
    """Return for each kind and shift: alarms raised, and how many of them are named rightly."""
    ends = [(e, end) for e in EPSILONS for end in ("found", "right", "of found")]
    heads = [f"epsilon {e:g}, {end}" for e, end in ends]
    lines = ["| alarm | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for kind, own in names.items():
        for said, of in ((f"**{kind}**", own), *((name, [name]) for name in own)):
            cells = [
                mean_rate(tally.values, [f"{name}|{e:g}|alarm {end}" for name in of])
                for e, end in ends
            ]
            lines.append(f"| {said} | " + " | ".join(cells) + " |")
    cells = [
        macro(tally, [[f"{name}|{e:g}|alarm {end}" for name in own] for own in names.values()])
        for e, end in ends
    ]
    lines.append(f"| **mean of the {len(names)} kinds** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def macro(tally: Tally, groups: Sequence[Sequence[str]], draws: int = 2000) -> str:
    """Return the mean rate over groups of shifts, with a bootstrap over hospitals' draws.

    A group's rate is over all its trials that have a value; NaN has none.
    """
    found = [joined(tally.values, names) for names in groups]
    clusters = sorted(found[0])
    hits = np.array([[np.nansum(one[name]) for one in found] for name in clusters])
    made = np.array([[np.sum(~np.isnan(one[name])) for one in found] for name in clusters])
    rng = np.random.default_rng(SEED)
    picked = rng.integers(0, len(clusters), (draws, len(clusters)))
    means = (hits[picked].sum(axis=1) / made[picked].sum(axis=1)).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    share = float((hits.sum(axis=0) / made.sum(axis=0)).mean())
    return f"{share:.3f} [{low:.3f}, {high:.3f}]"


def claims(tally: Tally) -> str:
    """Return how often another prevalence is claimed while images or the machine changed."""
    moved = [name for name in SHIFTS if kind_of(name) in ("image", "acquisition")]
    lines = []
    for epsilon in EPSILONS:
        for k in range(1, AFTER + 1):
            said = [f"{name}|{epsilon:g}|{k}|says label" for name in moved]
            lines.append(f"epsilon {epsilon:g}, pooled {k}: {mean_rate(tally.values, said)}")
    return "prevalence claimed under a shift of images or machine\n" + "\n".join(lines)


def _plain(name: str) -> bool:
    """Whether a shift is one of those on which the first prototype was measured."""
    return name.split(maxsplit=1)[0] not in HARDER and name not in MORE


def _windows(hospital: Hospital, shift: Shift) -> list[Rows]:
    found = [hospital.window(shift) for _ in range(AFTER)]
    hospital.give_back(shift)
    return found


def _apart(windows: Sequence[Released]) -> list[Released]:
    return [Released((f"w{k}",), one.blocks) for k, one in enumerate(windows)]


if __name__ == "__main__":
    main()
