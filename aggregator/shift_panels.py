"""What the report says of windows: sentences, a map of sites by windows, sums with thresholds.

Reads the tables ``shifts``, ``alarms`` and ``events`` as ``watch`` wrote them; nothing is computed
anew. Everything is plain numbers and words for the template. A run without windows has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from aggregator.run_folder import Row, Run
from fedrad.shift.agreed import RECORD
from fedrad.shift.evidence import CHANNELS, KINDS

STEPS = (1.64, 3.0)  # readings from which a cell is drawn as unusual and as far off
WIDTH, HEIGHT = 280.0, 90.0  # of a drawn sum


@dataclass(frozen=True, slots=True)
class Cell:
    """One window of one channel: how far it is, 0 to 2, and what a reader is told."""

    step: int
    alarm: bool
    said: str


@dataclass(frozen=True, slots=True)
class Strip:
    """One channel of one site over windows; ``None`` where nothing could be read."""

    site: str
    channel: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """A drawn sum that passed its threshold."""

    title: str
    line: str  # points of a polyline
    threshold: float  # its height in the drawing
    since: float  # the change's place


@dataclass(frozen=True, slots=True)
class Panels:
    """Everything that the section shows."""

    windows: tuple[str, ...]
    sentences: tuple[str, ...]
    apart: tuple[str, ...]
    strips: tuple[Strip, ...]
    sums: tuple[Sum, ...]
    notes: tuple[str, ...]


def panels(run: Run) -> Panels | None:
    """Return what is shown of a run's windows; ``None`` where none was judged."""
    looked = [row for row in run.tables["events"] if row["kind"] == "shift-looked"]
    if not looked:
        return None
    detail = json.loads(looked[-1]["detail_json"])
    rows = [row for row in run.tables["shifts"] if row["window"] != RECORD]
    windows = tuple(sorted({str(row["window"]) for row in rows}))
    return Panels(
        windows,
        tuple(_sentences(run, windows)),
        tuple(f"{run.full_name(one['site'])} {one['said']}" for one in detail.get("apart", [])),
        tuple(_strips(run, rows, windows)),
        tuple(_sums(run, rows, windows)),
        tuple(
            f"{run.full_name(site)}: {note}"
            for site, notes in sorted(detail.get("notes", {}).items())
            for note in notes
        ),
    )


def spoken_day(text: str) -> str:
    """Return a day as people say it: ``27 September 2020``."""
    day = date.fromisoformat(text)
    return f"{day.day} {day.strftime('%B %Y')}"


def _sentences(run: Run, windows: tuple[str, ...]) -> Iterator[str]:
    alarms = run.tables["alarms"]
    if windows and not alarms:
        yield f"No hospital has an alarm in the {len(windows)} windows that were judged."
    if not windows:
        yield "No window was judged yet: a hospital's first six are its reference."
    for row in alarms:
        since, raised = spoken_day(row["since_window"]), spoken_day(row["window"])
        yield (
            f"{run.full_name(row['site'])}: {KINDS[row['kind']][0]} since {since}; seen in the "
            f"window of {raised}. Evidence: {row['evidence']}."
        )


def _strips(run: Run, rows: list[Row], windows: tuple[str, ...]) -> Iterator[Strip]:
    known = {(row["site"], row["channel"], row["window"]): row for row in rows}
    alarms = {(row["site"], row["channel"], row["window"]) for row in run.tables["alarms"]}
    for site in run.sites:
        for channel, name in CHANNELS.items():
            keys = [(site, channel, window) for window in windows]
            if any(key in known for key in keys):
                cells = tuple(_cell(known.get(key), key in alarms) for key in keys)
                yield Strip(run.label(site), name, cells)


def _cell(row: Row | None, alarm: bool) -> Cell | None:
    if row is None or row["z"] is None:
        return None
    step = sum(row["z"] >= least for least in STEPS)
    return Cell(step, alarm, f"window of {row['window']}: p = {row['p']:.2g}")


def _sums(run: Run, rows: list[Row], windows: tuple[str, ...]) -> Iterator[Sum]:
    for alarm in run.tables["alarms"]:
        own = {
            str(row["window"]): row
            for row in rows
            if (row["site"], row["channel"]) == (alarm["site"], alarm["channel"])
        }
        limit = max((row["threshold"] for row in own.values()), default=1.0)
        top = max([limit, *(row["cusum"] for row in own.values())]) * 1.1
        step = WIDTH / max(len(windows) - 1, 1)
        points = [
            f"{step * place:.1f},{HEIGHT * (1 - own[window]['cusum'] / top):.1f}"
            for place, window in enumerate(windows)
            if window in own
        ]
        yield Sum(
            f"{run.label(alarm['site'])}, {CHANNELS[alarm['channel']].lower()}",
            " ".join(points),
            round(HEIGHT * (1 - limit / top), 1),
            round(step * windows.index(alarm["since_window"]), 1),
        )
