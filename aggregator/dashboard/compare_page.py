"""Two runs side by side: how far, how good at the worst site and on average, at what price."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aggregator import figures, first_screen
from aggregator.dashboard.book import SUMS, Book
from aggregator.measures import SUMMARIES
from aggregator.run_folder import Row, Run
from aggregator.wording import interval, score, spent_epsilon
from fedrad.metrics.names import spoken


def side(book: Book) -> dict[str, Any]:
    """Return one run as a column of the comparison."""
    rounds = book.rounds()
    run, metric = book.run(rounds=rounds), book.primary()
    rows = [row for row in book.measured(metric) if not row["window"]]
    last = max((int(row["round"]) for row in rows), default=0)
    at_last = {str(row["site"]): row for row in rows if row["round"] == last}
    return {
        "run": run,
        "metric": spoken(metric),
        "facts": _facts(book, run, rounds) | _measured(run, at_last),
        "curve": [
            (int(row["round"]), float(row["value"]), row["lo"], row["hi"])
            for row in rows
            if row["site"] == "worst" and row["value"] is not None and math.isfinite(row["value"])
        ],
    }


def together(sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows and the drawing of a comparison.

    Args:
        sides: Run name to ``side``, two of them or one.
    """
    names = list(sides)
    keys = list(dict.fromkeys(key for one in sides.values() for key in one["facts"]))
    curves = {name: one["curve"] for name, one in sides.items() if one["curve"]}
    same = len({one["metric"] for one in sides.values()}) == 1
    return {
        "names": names,
        "facts": [(key, [sides[name]["facts"].get(key, "") for name in names]) for key in keys],
        "panels": figures.panels(curves) if same else {},
        "metrics": {name: one["metric"] for name, one in sides.items()},
        "same_task": len({one["run"].about.get("task_hash") for one in sides.values()}) == 1,
    }


def _facts(book: Book, run: Run, rounds: list[Row]) -> dict[str, str]:
    paid = book.rows("SELECT max(epsilon) AS most FROM privacy")
    most = paid[0]["most"] if paid else None
    void = sum(row["state"] == "void" for row in rounds)
    return {
        "State": first_screen.status(run),
        "Task": str(run.about.get("task_hash", ""))[:12],
        "Rounds": f"{len(rounds)}, {void} of them void" if void else str(len(rounds)),
        "Hospitals": str(len(run.sites)),
        "Alarms": str(len(book.rows("SELECT 1 FROM alarms"))),
        "Epsilon of a patient, at most": "not shown: exact metrics"
        if run.exact
        else spent_epsilon(most),
    }


def _measured(run: Run, at_last: Mapping[str, Row]) -> dict[str, str]:
    named = {SUMMARIES[name]: name for name in SUMS} | {run.full_name(s): s for s in run.sites}
    return {label: _said(at_last.get(name)) for label, name in named.items()}


def _said(row: Row | None) -> str:
    if row is None or not score(row["value"]):
        return ""
    within = interval(row["lo"], row["hi"])
    return f"{score(row['value'])} ({within})" if within else score(row["value"])
