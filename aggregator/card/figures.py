"""The numbers of a model card: performance, privacy, shift and changes, from a run's rows.

A value that was not measured is ``None``; a count under ten is "<10".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aggregator import measures
from aggregator.chosen import PROMOTE
from aggregator.letters import Letters
from aggregator.measures import SUMMARIES, Value
from aggregator.paid import attack_sentence, paid_by_site
from aggregator.run_folder import Row, Run
from fedrad.metrics.metric import shown_count
from fedrad.metrics.names import spoken
from fedrad.shift.agreed import RECORD

Tables = Mapping[str, tuple[Row, ...]]


def performance(run: Run, number: int, letters: Letters) -> list[dict[str, Any]]:
    """Return every metric of every site at the release of one round, the worst site first."""
    found = []
    for site in ("worst", *run.sites, "macro", "*"):
        values = measures.at_release(run, site, number)
        name = SUMMARIES.get(site) or letters.of(site)
        patients = measures.patients(values)
        metrics = [
            {"metric": metric, "name": spoken(metric), **_numbers(values[metric])}
            for metric in measures.columns(run)
            if metric in values
        ]
        shown = None if patients is None else shown_count(patients)
        found.append({"site": name, "patients": shown, "metrics": metrics,
                      "external": site in run.external})  # fmt: skip
    return found


def privacy(run: Run, letters: Letters) -> list[dict[str, Any]]:
    """Return what the most exposed patient of each site has paid; empty with exact metrics."""
    return [
        {
            "site": letters.of(paid.site),
            "epsilon": _rounded_up(paid.epsilon),
            "delta": paid.delta,
            "training_steps": paid.steps,
            "streams": {name: _rounded_up(value) for name, value in paid.streams.items()},
            "means": attack_sentence(paid),
        }
        for paid in paid_by_site(run)
    ]


def shift(tables: Tables, letters: Letters) -> dict[str, Any]:
    """Return the history of windows: how many of which sites, every alarm, what was decided."""
    windows: dict[str, set[str]] = {}
    for row in tables["shifts"]:
        if row["window"] != RECORD:  # the training period is no window
            windows.setdefault(str(row["site"]), set()).add(str(row["window"]))
    alarms = [
        {
            "window": row["window"],
            "site": letters.of(str(row["site"])),
            "channel": row["channel"],
            "kind": row["kind"],
            "since": row["since_window"],
            "posterior": row["posterior"],
        }
        for row in tables["alarms"]
    ]
    return {
        "windows": sum(map(len, windows.values())),
        "sites": [
            {"site": letters.of(site), "windows": len(names), "first": min(names),
             "last": max(names)}
            for site, names in sorted(windows.items(), key=lambda pair: letters.of(pair[0]))
        ],
        "alarms": alarms,
        "proposals": [
            {"window": row["window"], "site": letters.of(str(row["site"])),
             "action": row["action"], "decision": row["decision"],
             "effect": letters.text(str(row["effect"]))}
            for row in tables["actions"] if row["window"]
        ],
    }  # fmt: skip


def changes(run: Run, tables: Tables, number: int, letters: Letters) -> dict[str, Any] | None:
    """Return what changed since the last promoted model; ``None``: this is the first."""
    before = [int(row["round"]) for row in tables["releases"]
              if row["decision"] == PROMOTE and int(row["round"]) < number]  # fmt: skip
    if not before:
        return None
    metric, then = measures.primary(run), max(before)
    moved = []
    for site in run.sites:
        old = measures.at_release(run, site, then).get(metric)
        new = measures.at_release(run, site, number).get(metric)
        pair = {"before": _finite(old), "now": _finite(new)}
        moved.append({"site": letters.of(site), **pair})
    return {"since_round": then, "metric": metric, "sites": moved}


def _numbers(value: Value) -> dict[str, Any]:
    return {"value": _finite(value), "lo": value.lo, "hi": value.hi, "method": value.method}


def _finite(value: Value | None) -> float | None:
    return None if value is None or not math.isfinite(value.value) else value.value


def _rounded_up(value: float | None) -> float | str | None:
    if value is None:
        return None
    return math.ceil(value * 100 - 1e-9) / 100 if math.isfinite(value) else "not private"
