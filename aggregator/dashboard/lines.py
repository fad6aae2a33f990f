"""One line a site on the first screen: what it does now, its figure, its windows, its price."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.dashboard import charts, matters
from aggregator.dashboard.book import SUMS, Book
from aggregator.run_folder import Row, Run
from aggregator.wording import interval, score

_RECENT = 12  # releases of a small line


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One site of the first screen."""

    site: str
    name: str
    state: str
    look: bool
    value: str = ""
    without: str = "not measured"  # what is said where there is no value
    interval: str = ""
    spark: str = ""
    strip: charts.Strip | None = None
    kinds: tuple[str, ...] = ()
    epsilon: float | None = None


def site_lines(
    book: Book, run: Run, last: Sequence[Row], *, online: Mapping[str, str], alarms: Sequence[Row]
) -> tuple[Line, ...]:
    """Return one line for each site, in reader's order.

    Args:
        book: The run's rows.
        run: With its sites.
        last: The replies of its last round.
        online: Site to what its node is; empty where nobody could be asked.
        alarms: All of the run's.
    """
    figures = _figures(book, run)
    strips = strips_by_site(book, alarms)
    paid = {row["site"]: row["most"] for row in _paid(book, run)}
    kinds: dict[str, list[str]] = defaultdict(list)
    for row in alarms:
        kinds[row["site"]].append(matters.KINDS.get(row["kind"], matters.KINDS["unknown"])[0])
    return tuple(
        Line(
            site=site, name=run.full_name(site),
            **_state(run, site, last, online=online, alarmed=site in kinds),
            **figures.get(site, {}), strip=strips.get(site), epsilon=paid.get(site),
            kinds=tuple(dict.fromkeys(kinds[site])),
        )
        for site in run.sites
    )  # fmt: skip


def _state(
    run: Run, site: str, last: Sequence[Row], *, online: Mapping[str, str], alarmed: bool
) -> dict[str, Any]:
    row = next((one for one in run.tables["sites"] if one["site"] == site), None)
    status = str(row["status"]) if row else "not joined"
    own = [one for one in last if one["site"] == site]
    bad = next((one for one in own if one["outcome"] != "done"), None)
    if status == "joined" and online.get(site):
        status = online[site]
    elif status == "joined" and own:
        status = "replied" if bad is None else str(bad["outcome"])
    elif status == "joined" and last:
        status = "no reply"
    return {"state": status, "look": alarmed or status not in ("joined", "online", "replied")}


def _figures(book: Book, run: Run) -> dict[str, dict[str, Any]]:
    """Return for each site its last figure, and the points of its last releases."""
    rows = book.recent(book.primary(), _RECENT)
    releases = list(dict.fromkeys((row["window"], row["round"]) for row in rows))
    own = [row for row in rows if row["site"] not in SUMS]
    values = [row["value"] for row in own if _known(row["value"])]
    low, high = min(values, default=0.0), max(values, default=1.0)
    by_site: dict[str, dict[tuple[str, int], Row]] = defaultdict(dict)
    for row in own:
        by_site[row["site"]][row["window"], row["round"]] = row
    found: dict[str, dict[str, Any]] = {}
    for site in run.sites:
        at = by_site[site]
        line = [at[one]["value"] if one in at else None for one in releases]
        last = next((at[one] for one in reversed(releases) if one in at), None)
        found[site] = {
            "spark": charts.spark([v if _known(v) else None for v in line], low, high),
            "value": score(last["value"]) if last else "",
            "without": "not estimable" if last else "not measured",
            "interval": interval(last["lo"], last["hi"]) if last else "",
        }
    return found


def strips_by_site(book: Book, alarms: Sequence[Row]) -> dict[str, charts.Strip]:
    """Return one strip a site: in each window the most unusual of its channels."""
    since = {str(row["site"]): str(row["since_window"]) for row in alarms}
    found: dict[str, dict[str, list[charts.Reading]]] = defaultdict(lambda: defaultdict(list))
    for row in book.rows("SELECT * FROM shifts WHERE window <> 'record' ORDER BY window"):
        found[row["site"]][row["channel"]].append(reading_of(row))
    return {
        site: charts.strip(charts.loudest(channels), since.get(site, ""))
        for site, channels in found.items()
    }


def reading_of(row: Row) -> charts.Reading:
    """Return one row of ``shifts`` as a strip draws it."""
    over = None not in (row["cusum"], row["threshold"]) and row["cusum"] > row["threshold"]
    return charts.Reading(window=str(row["window"]), p=row["p"], over=over)


def _paid(book: Book, run: Run) -> list[Row]:
    """Return what the most exposed patient of each site has paid so far, as recorded."""
    if run.exact:
        return []  # exact metrics have no epsilon, and then none is shown
    return book.rows(
        "SELECT site, max(epsilon) AS most FROM privacy WHERE epsilon IS NOT NULL GROUP BY site"
    )


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
