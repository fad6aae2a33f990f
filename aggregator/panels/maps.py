"""Where something stood out: every hospital by window, every channel of it, and the sums.

Reads rows of ``shifts`` and ``alarms``; a cell's steps are of readings, normal quantiles of 1 - p.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aggregator.run_folder import Row, Run
from fedrad.shift.evidence import CHANNELS

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
    channel: str  # empty: the one that is furthest off
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """A drawn sum that passed its threshold."""

    title: str
    line: str  # points of a polyline
    threshold: float  # its height in the drawing
    since: float  # the change's place


def strips(run: Run, rows: Sequence[Row], windows: tuple[str, ...]) -> Iterator[Strip]:
    """Yield one line for each channel of each site that was read at all."""
    known = {(row["site"], row["channel"], row["window"]): row for row in rows}
    alarms = {(row["site"], row["channel"], row["window"]) for row in run.tables["alarms"]}
    for site in run.sites:
        for channel, name in CHANNELS.items():
            keys = [(site, channel, window) for window in windows]
            if any(key in known for key in keys):
                cells = tuple(_cell(known.get(key), key in alarms) for key in keys)
                yield Strip(run.label(site), name, cells)


def by_site(found: Sequence[Strip]) -> Iterator[Strip]:
    """Yield one line a site: in each window the cell of the channel that is furthest off."""
    for site in dict.fromkeys(strip.site for strip in found):
        own = [strip for strip in found if strip.site == site]
        columns = zip(*(strip.cells for strip in own), strict=True)
        names = [strip.channel.lower() for strip in own]
        yield Strip(site, "", tuple(_furthest(names, column) for column in columns))


def headline(sites: Sequence[Strip]) -> str:
    """Say in one sentence how many windows of hospitals were read and how many stood out."""
    cells = [cell for site in sites for cell in site.cells if cell is not None]
    far = [cell for cell in cells if cell.step == len(STEPS)]
    where = [site.site for site in sites if any(cell in far for cell in site.cells)]
    said = f"{len(cells)} windows of {len(sites)} hospitals were read; {len(far) or 'none'} of them"
    return f"{said} {'is' if len(far) < 2 else 'are'} far off{_at(where)}."


def sums(run: Run, rows: Sequence[Row], windows: tuple[str, ...]) -> Iterator[Sum]:
    """Yield one drawing for each alarm, with the window from which it is dated."""
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


def _cell(row: Row | None, alarm: bool) -> Cell | None:
    if row is None or row["z"] is None:
        return None
    step = sum(row["z"] >= least for least in STEPS)
    return Cell(step, alarm, f"window of {row['window']}: p = {row['p']:.2g}")


def _furthest(names: Sequence[str], column: Sequence[Cell | None]) -> Cell | None:
    known = [(name, cell) for name, cell in zip(names, column, strict=True) if cell is not None]
    if not known:
        return None
    name, cell = max(known, key=lambda one: (one[1].step, one[1].alarm))
    return Cell(cell.step, any(one.alarm for _, one in known), f"{cell.said} ({name})")


def _at(sites: Sequence[str]) -> str:
    return f", at {', '.join(sites)}" if sites else ""
