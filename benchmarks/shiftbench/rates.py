"""Turn trials into the tables of docs/results.md: rates with 95 % intervals.

Windows of one draw share a reference, so their number counts for less: Wilson's interval on
the trials divided by the design effect, the variance between draws over that of independent
trials [1].

References:
    [1] Rao and Scott, A Simple Method for the Analysis of Clustered Binary Data, Biometrics 48,
        1992.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedrad.metrics.metric import proportion

Clusters = Mapping[str, Sequence[float]]
Trials = Mapping[str, Mapping[str, Clusters]]

STRONG = ("gain H", "gamma H", "noise H", "blur H", "resolution H", "scanner 100 %", "population H")
MILD = ("gain L", "gamma L", "noise L", "resolution L", "scanner 30 %")
LABELS = ("prevalence .42", "prevalence .55", "label noise 15 %", "label noise 30 %")
SHOWN = (*STRONG, *MILD, "blur L", "population L", *LABELS)


def tables(trials: Trials) -> str:
    """Return every table whose trials were made."""
    parts = {"power": _power, "null": _null, "delay": _delay, "quiet": _quiet}
    return "\n\n".join(make(trials[name]) for name, make in parts.items() if name in trials)


def rate(clusters: Clusters) -> tuple[float, float, float, int]:
    """Return a rate, its 95 % interval and the number of trials; NaN values are left out."""
    rows = [np.array(values, dtype=np.float64) for values in clusters.values()]
    rows = [row[~np.isnan(row)] for row in rows]
    sizes, hits = np.array([len(row) for row in rows]), np.array([row.sum() for row in rows])
    total = int(sizes.sum())
    if not total:
        return float("nan"), float("nan"), float("nan"), 0
    share = float(hits.sum() / total)
    between = float(np.sum((hits - share * sizes) ** 2)) * len(rows) / max(len(rows) - 1, 1)
    effect = max(1.0, between / max(total * share * (1 - share), 1e-12)) if 0 < share < 1 else 1.0
    found = proportion(hits.sum() / effect, total / effect, 0.0)
    return share, max(0.0, found.lo), min(1.0, found.hi), total


def mean_rate(trials: Mapping[str, Clusters], names: Sequence[str]) -> str:
    """Return the rate over several shifts alike; draws are the same, so they are one cluster."""
    joined: dict[str, list[float]] = {}
    for name in names:
        for draw, values in trials.get(name, {}).items():
            joined.setdefault(draw, []).extend(values)
    return shown(joined)


def shown(clusters: Clusters) -> str:
    """Return a rate as people read it."""
    share, lo, hi, total = rate(clusters)
    return f"{share:.3f} [{lo:.3f}, {hi:.3f}] ({total})" if total else "–"


def _epsilons(trials: Mapping[str, Clusters], place: int = 1) -> list[str]:
    found = {name.split("|")[place] for name in trials} - {"raw"}
    return sorted(found, key=float, reverse=True)


def _power(trials: Mapping[str, Clusters]) -> str:
    epsilons = _epsilons(trials)
    columns = [f"epsilon {e}, one window | three as one" for e in epsilons]
    lines = [
        f"| shift | {' | '.join(columns)} | raw rows, KS |",
        "|---|" + "---|" * (2 * len(epsilons) + 1),
    ]
    groups = {
        **{name: (name,) for name in ("null", *SHOWN)},
        "**strong**": STRONG,
        "**mild**": MILD,
        "**all of images, machine, patients**": (*STRONG, *MILD, "blur L", "population L"),
    }
    for title, names in groups.items():
        cells = [
            cell
            for e in epsilons
            for cell in (
                mean_rate(trials, [f"{name}|{e}" for name in names]),
                mean_rate(trials, [f"{name}|{e}|pooled" for name in names]),
            )
        ]
        raw = mean_rate(trials, [f"{name}|raw" for name in names])
        lines.append(f"| {title} | {' | '.join(cells)} | {raw} |")
    return "\n".join([*lines, "", *_abstains(trials, epsilons)])


def _abstains(trials: Mapping[str, Clusters], epsilons: Sequence[str]) -> list[str]:
    names = (*STRONG[:5], "scanner 100 %", *MILD)
    return [
        f"epsilon {e}: labels not judged under a shift of images or machine "
        f"{mean_rate(trials, [f'{name}|{e}|abstains' for name in names])}, under none "
        f"{mean_rate(trials, [f'null|{e}|abstains'])}"
        for e in epsilons
    ]


def _null(trials: Mapping[str, Clusters]) -> str:
    lines = ["| unchanged | false alarms |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {shown(trials[name])} |" for name in sorted(trials))])


def _delay(trials: Mapping[str, Clusters]) -> str:
    lines = ["| change, epsilon | found in 3 windows | median delay | date right to 1 |"]
    lines.append("|---|---|---|---|")
    for name in trials:
        if name.endswith("|found"):
            title = name.removesuffix("|found")
            late = [v for values in trials[f"{title}|delay"].values() for v in values]
            error = {
                draw: [float(v <= 1) for v in values if not np.isnan(v)]
                for draw, values in trials[f"{title}|error"].items()
            }
            missed = np.where(np.isnan(late), np.inf, late)
            median = np.median(missed) if late else np.nan
            lines.append(f"| {title} | {shown(trials[name])} | {median:g} | {shown(error)} |")
    return "\n".join(lines)


def _quiet(trials: Mapping[str, Clusters]) -> str:
    lines = ["| path, epsilon | alarms | notes |", "|---|---|---|"]
    lines += [
        f"| {name} | {shown(trials[name])} | {shown(trials[f'{name}|note'])} |"
        for name in trials
        if not name.endswith("|note")
    ]
    return "\n".join(lines)
