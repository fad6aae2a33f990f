"""One site as the coordinator sees it: figures, strips of windows, budget, contract, messages.

All of it came over the wire or was agreed; what depends on patients stays on the site's own
screens.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aggregator import figures
from aggregator.dashboard import charts, matters
from aggregator.dashboard.book import Book
from aggregator.dashboard.glance import banner_of
from aggregator.dashboard.lines import reading_of
from aggregator.measures import COUNTS
from aggregator.run_folder import Row, Run
from fedrad.metrics.names import NAMES, spoken

_MESSAGES = 16


def site_context(book: Book, site: str) -> dict[str, Any]:
    """Return what the page of one site shows."""
    run = book.run(events=book.turns())
    alarms = book.of_site("alarms", site, "window DESC")
    return {
        "run": run,
        "banner": banner_of(run),
        "site": site,
        "name": run.full_name(site),
        "row": next((one for one in run.tables["sites"] if one["site"] == site), None),
        "matters": list(matters.alarm_matters(run, alarms)),
        **_figures(book, run, site),
        **_shift(book, site, alarms),
        "paid": _paid(book, run, site),
        "planned": run.task.privacy if run.task and run.task.privacy.enabled else None,
        "terms": run.contract.sites.get(site) if run.contract else None,
        "conditions": run.contract.conditions if run.contract else None,
        "contract": run.contract,
        "messages": book.of_site("replies", site, "round DESC, phase DESC", _MESSAGES),
        "history": [row for row in run.tables["events"] if row["site"] == site][-_MESSAGES:],
    }


def _figures(book: Book, run: Run, site: str) -> dict[str, Any]:
    metric = book.primary()
    every = book.measured(metric, site=site)
    own = [row for row in every if _known(row)]
    audits = [row for row in own if not row["window"]]
    mean = [row for row in book.measured(metric, site="macro") if _known(row) and not row["window"]]
    panels = figures.panels({site: _points(audits), "macro": _points(mean)}) if audits else {}
    last = max((row["round"] for row in every if not row["window"]), default=None)
    return {
        "metric": spoken(metric),
        "panel": panels.get(site),
        "last_round": last,
        "values": _values(book, site, last),
        "windows": [row for row in own if row["window"]],
        "exact": run.exact,
    }


def _values(book: Book, site: str, last: int | None) -> list[tuple[str, Row]]:
    rows = book.of_site("metrics", site, "metric")
    of_last = {
        str(row["metric"]): row
        for row in rows
        if row["round"] == last and row["split"] == "audit" and row["model"] == "global"
    }
    order = [name for name in NAMES if name in of_last]
    order += sorted(set(of_last) - set(NAMES) - set(COUNTS))
    return [(spoken(name), of_last[name]) for name in order]


def _shift(book: Book, site: str, alarms: Sequence[Row]) -> dict[str, Any]:
    since = {str(row["channel"]): str(row["since_window"]) for row in alarms}
    rows = book.of_site("shifts", site, "window")
    by_channel: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["window"] != "record":
            by_channel[str(row["channel"])].append(row)
    shown = [channel for channel in matters.CHANNELS if channel in by_channel]
    return {
        "strips": [
            (
                matters.CHANNELS[channel],
                charts.strip(
                    list(map(reading_of, by_channel[channel])), since.get(channel, ""), width=520.0
                ),
                by_channel[channel][-1],
            )
            for channel in shown
        ],
        "record": [(matters.CHANNELS.get(r["channel"], r["channel"]), r) for r in rows
                   if r["window"] == "record"],
    }  # fmt: skip


def _paid(book: Book, run: Run, site: str) -> list[Row]:
    """Return what each stream's patients have paid so far, as recorded; nothing where exact."""
    if run.exact:
        return []
    rows = book.of_site("privacy", site, "stream, round")
    last: dict[str, Row] = {}
    for row in rows:
        before = last.get(row["stream"])
        if before is None or (row["epsilon"] or 0.0) >= (before["epsilon"] or 0.0):
            last[str(row["stream"])] = row
    steps: dict[str, int] = defaultdict(int)
    for row in rows:
        steps[str(row["stream"])] += int(row["steps"])
    return [last[stream] | {"steps": steps[stream]} for stream in sorted(last)]


def _points(rows: Sequence[Row]) -> list[figures.Point]:
    return [(int(row["round"]), float(row["value"]), row["lo"], row["hi"]) for row in rows]


def _known(row: Row) -> bool:
    return row["value"] is not None and math.isfinite(row["value"])
