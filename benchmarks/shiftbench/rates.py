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
OTHERS = ("blur L", "population L")
ADDED = ("bias field L", "bias field H", "firmware")  # not in the prototype's fourteen
LABELS = (
    "prevalence .42",
    "prevalence .55",
    "label noise 15 %",
    "label noise 30 %",
    "missed 15 %",
    "missed 30 %",
    "annotator",
)
SHOWN = (*STRONG, *MILD, *OTHERS, *ADDED, *LABELS)
RAW = ("KS", "MMD", "classifier", "latents")
GROUPS = {
    "**strong**": STRONG,
    "**strong, with bias field and firmware**": (*STRONG, "bias field H", "firmware"),
    "**mild**": MILD,
    "**all fourteen of images, machine, patients**": (*STRONG, *MILD, *OTHERS),
    "**prevalence and label noise**": LABELS[:4],
}


def tables(trials: Trials) -> str:
    """Return every table whose trials were made."""
    parts = {"power": _power, "null": _null, "delay": _delay, "quiet": _quiet, "sites": _sites}
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


def joined(trials: Mapping[str, Clusters], names: Sequence[str]) -> Clusters:
    """Return several shifts as one; their draws are the same, so they are one cluster."""
    found: dict[str, list[float]] = {}
    for name in names:
        for draw, values in trials.get(name, {}).items():
            found.setdefault(draw, []).extend(values)
    return found


def mean_rate(trials: Mapping[str, Clusters], names: Sequence[str]) -> str:
    """Return the rate over several shifts alike."""
    return bare(joined(trials, names))


def ratio(
    trials: Mapping[str, Clusters], epsilon: str, names: Sequence[str]
) -> tuple[float, float, float]:
    """Return mean power over that of KS on raw rows, with the 95 % interval of a ratio [1].

    Draws are the clusters; the delta method for the ratio of two means over the same draws.
    """
    kept = [name for name in names if f"{name}|raw KS" in trials]
    own, raw = (
        np.array([
            np.mean([np.mean(trials[f"{name}|{who}"][draw]) for name in kept])
            for draw in trials[f"null|{epsilon}"]
        ])
        for who in (epsilon, "raw KS")
    )  # fmt: skip
    share = float(own.mean() / raw.mean())
    wide = 1.96 * float((own - share * raw).std(ddof=1)) / (np.sqrt(len(own)) * float(raw.mean()))
    return share, share - wide, share + wide


def median(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median with order statistics about it; NaN counts as never.

    The ranks of the interval are those of a binomial of one half, by its normal approximation.
    """
    ordered = np.sort(np.where(np.isnan(values), np.inf, values))
    size = len(ordered)
    if not size:
        return float("nan"), -np.inf, np.inf
    half = 0.98 * np.sqrt(size)
    lo, hi = int(max(0, np.floor(size / 2 - half))), int(min(size - 1, np.ceil(size / 2 + half)))
    return float(ordered[(size - 1) // 2]), float(ordered[lo]), float(ordered[hi])


def shown(clusters: Clusters) -> str:
    """Return a rate as people read it, and of how many."""
    total = rate(clusters)[3]
    return f"{bare(clusters)} ({total})" if total else "–"


def bare(clusters: Clusters) -> str:
    """Return a rate and its interval alone."""
    share, lo, hi, total = rate(clusters)
    return f"{short(share)} [{short(lo)}, {short(hi)}]" if total else "–"


def short(share: float) -> str:
    """Return a share to three decimals without what goes without saying."""
    text = f"{share:.3f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if text.startswith("0.") else text


def _epsilons(trials: Mapping[str, Clusters]) -> list[str]:
    found = {name.split("|")[1] for name in trials if not name.split("|")[1].startswith("raw")}
    return sorted(found, key=float, reverse=True)


def _power(trials: Mapping[str, Clusters]) -> str:
    epsilons, raw = _epsilons(trials), [who for who in RAW if f"null|raw {who}" in trials]
    columns = [f"epsilon {e}, {many}" for e in epsilons for many in ("one window", "three as one")]
    columns += [f"raw rows, {who}" for who in raw]
    lines = [f"| shift (windows) | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for title, names in {**{name: (name,) for name in ("null", *SHOWN)}, **GROUPS}.items():
        kinds = [f"{e}{many}" for e in epsilons for many in ("", "|pooled")]
        kinds += [f"raw {who}" for who in raw]
        cells = [mean_rate(trials, [f"{name}|{kind}" for name in names]) for kind in kinds]
        made = rate(joined(trials, [f"{name}|{epsilons[0]}" for name in names]))[3]
        lines += [f"| {title} ({made}) | {' | '.join(cells)} |"] if made else []
    against, abstains = _against_raw(trials, epsilons), _abstains(trials, epsilons)
    return "\n".join([*lines, "", *against, "", *abstains])


def _against_raw(trials: Mapping[str, Clusters], epsilons: Sequence[str]) -> list[str]:
    names = (*STRONG, *MILD, *OTHERS)
    found = [(e, *ratio(trials, e, names)) for e in epsilons]
    return [
        f"epsilon {e}: mean power over that of KS on raw rows {share:.3f} [{lo:.3f}, {hi:.3f}]"
        for e, share, lo, hi in found
    ]


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
    title = "found by an alarm of its kind | alarms before | median delay, its interval"
    lines = [f"| change, epsilon | {title} | date right to 1 |", "|---|---|---|---|---|"]
    for name in trials:
        if name.endswith("|found"):
            title = name.removesuffix("|found")
            late = [v for values in trials[f"{title}|delay"].values() for v in values]
            error = {
                draw: [float(v <= 1) for v in values if not np.isnan(v)]
                for draw, values in trials[f"{title}|error"].items()
            }
            cells = (
                shown(trials[name]),
                shown(trials[f"{title}|early"]),
                "{:g} [{:g}, {:g}]".format(*median(late)),
            )
            lines.append(f"| {title} | {' | '.join(cells)} | {shown(error)} |")
    return "\n".join(lines)


def _quiet(trials: Mapping[str, Clusters]) -> str:
    lines = ["| path, epsilon | alarms | notes |", "|---|---|---|"]
    lines += [
        f"| {name} | {shown(trials[name])} | {shown(trials[f'{name}|note'])} |"
        for name in trials
        if not name.endswith("|note")
    ]
    return "\n".join(lines)


def _sites(trials: Mapping[str, Clusters]) -> str:
    lines = ["| several sites | share |", "|---|---|"]
    kept = [name for name in trials if not name.endswith(("|delay", "|error"))]
    return "\n".join(
        [*lines, *(f"| {name.replace('|', ', ')} | {shown(trials[name])} |" for name in kept)]
    )
