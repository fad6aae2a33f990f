"""One run: curves with intervals, the worst site, sites by releases, and who refused and why.

With many hospitals the curves are those of the sums and of the six that do worst now; every
other one has its own page, and all are in the heat map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aggregator import attendance, figures, first_screen
from aggregator.dashboard import charts
from aggregator.dashboard.book import SUMS, Book
from aggregator.dashboard.glance import banner_of
from aggregator.measures import SUMMARIES
from aggregator.run_folder import Row, Run
from aggregator.wording import interval, score, subtitle
from fedrad.metrics.names import spoken

MOST_PANELS = 12
_SHOWN = 6  # hospitals with a curve, where there are more than fit
_LAST_ROUNDS = 30  # of the strip of presence


def run_context(book: Book) -> dict[str, Any]:
    """Return what the page of one run shows."""
    rounds, turns = book.rounds(), book.turns()
    recent = rounds[-_LAST_ROUNDS:]
    replies = book.replies_that_tell(recent[0]["round"] if recent else 0)
    run = book.run(rounds=rounds, events=turns, replies=replies)
    metric = book.primary()
    cells = book.cells(metric)
    last = max((number for _, window, number, _ in cells if not window), default=0)
    latest = book.release(metric, last)
    shown = _shown(run, latest)
    points = _points(book.curves(metric, shown))
    lately = replace(run, tables=run.tables | {"rounds": tuple(recent)})
    return {
        "run": run,
        "banner": banner_of(run),
        "subtitle": subtitle(run),
        "status": first_screen.status(run),
        "metric": spoken(metric),
        "panels": figures.panels({name: points[name] for name in shown if name in points}),
        "titles": {name: SUMMARIES.get(name) or run.full_name(name) for name in shown},
        "latest": latest,
        "left_out": len(run.sites) - sum(name in run.sites for name in shown),
        "worst": _worst(run, latest),
        "heat": _heat(run, cells),
        "absences": attendance.sentences(run),
        "presence": charts.presence(
            {run.label(site): line for site, line in attendance.grid(lately).items()},
            [int(row["round"]) for row in recent],
        ),
        "rounds": len(recent),
    }


def _points(rows: Sequence[Row]) -> dict[str, list[figures.Point]]:
    found: dict[str, list[figures.Point]] = {}
    for row in rows:
        if row["value"] is not None and math.isfinite(row["value"]):
            point = (int(row["round"]), float(row["value"]), row["lo"], row["hi"])
            found.setdefault(str(row["site"]), []).append(point)
    return found


def _shown(run: Run, latest: Mapping[str, Row]) -> list[str]:
    """Return whose curves are drawn: the sums, then the sites, the worst ones where many are."""
    if len(run.sites) + len(SUMS) <= MOST_PANELS:
        return [*SUMS, *run.sites]
    known = [site for site in run.sites if site in latest and latest[site]["value"] is not None]
    return [*SUMS, *sorted(known, key=lambda site: float(latest[site]["value"]))[:_SHOWN]]


def _worst(run: Run, latest: Mapping[str, Row]) -> dict[str, str] | None:
    """Return the site that the row ``worst`` was taken from, by its value."""
    row = latest.get("worst")
    if row is None or row["value"] is None:
        return None
    same = [site for site in run.sites if site in latest and latest[site]["value"] == row["value"]]
    return {
        "name": " or ".join(map(run.full_name, same)) or "a site",
        "key": same[0] if same else "",
        "value": score(row["value"]),
        "interval": interval(row["lo"], row["hi"]),
        "round": str(row["round"]),
    }


def _heat(run: Run, cells: Sequence[tuple[str, str, int, float | None]]) -> charts.Heat | None:
    releases = list(dict.fromkeys((window, number) for _, window, number, _ in cells))
    values = {(site, window, number): value for site, window, number, value in cells}
    names = [window or f"{number}" for window, number in releases]
    table = {run.label(s): [_finite(values.get((s, *one))) for one in releases] for s in run.sites}
    return charts.heat(table, names) if releases else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
