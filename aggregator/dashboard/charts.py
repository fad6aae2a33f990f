"""Drawings of the dashboard as numbers: the heat map, the strips of windows, small lines.

Plain geometry in the units of an SVG view box, as in ``figures``; the templates draw it inline.
Fifty hospitals over two hundred releases are ten thousand cells: each class of values is one
path. Nothing here knows where the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from aggregator.figures import Tick

CLASSES = 6
CELL, ROW, LEFT, TOP = 14.0, 16.0, 130.0, 6.0
WIDEST = 760.0  # of the cells of a heat map
_GAP = 4.0  # cells that are wider stand apart
_MARK = 12.0  # from one mark of presence to the next
MARKS = {  # an outcome -> what is drawn from its place, 9 by 9
    "done": "h9v9h-9z",
    "abstained": "m.7 4.5a3.8 3.8 0 1 0 7.6 0a3.8 3.8 0 1 0-7.6 0",
    "refused": "m1 1l7 7m0-7l-7 7",
    "failed": "m4.5 0v6m0 1.4v1.6",
    "none": "m2 3.5h5v2h-5z",
}
_SPARK = (120.0, 26.0)
ODD, FAR = 0.05, 0.001  # p values from which a window is drawn as unusual, and as far off

Level = Literal["calm", "odd", "alarm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Sites by releases, one path for each class of values."""

    width: float
    height: float
    paths: tuple[str, ...]  # by class, lowest values first
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    ranges: tuple[tuple[float, float], ...]  # of each class


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Sites by rounds, one path for each outcome."""

    width: float
    height: float
    paths: dict[str, str]  # outcome -> path over all marks
    marks: dict[str, str]  # outcome -> path of one
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One window of a strip: higher and more strongly drawn the further off it is."""

    x: float
    y: float
    width: float
    height: float
    level: Level
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One channel's windows, in order, and where its change began."""

    width: float
    cells: tuple[Cell, ...]
    since: float | None
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One window of one channel as it is drawn."""

    window: str
    p: float | None
    over: bool  # the sum passed its limit


def heat(values: Mapping[str, Sequence[float | None]], columns: Sequence[str]) -> Heat | None:
    """Place sites by releases; ``None`` where nothing was measured.

    Args:
        values: Row name to a value for each column, ``None`` where there is none.
        columns: Names of the releases.
    """
    known = [value for row in values.values() for value in row if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    step = max(high - low, 0.02) / CLASSES
    width = min(CELL, WIDEST / len(columns))
    paths: list[list[str]] = [[] for _ in range(CLASSES)]
    for line, row in enumerate(values.values()):
        classes = [None if v is None else min(CLASSES - 1, int((v - low) / step)) for v in row]
        for which, place, count in _alike(classes, apart=width > _GAP):
            box = _box(LEFT + place * width, TOP + line * ROW, width * count, gap=width > _GAP)
            paths[which].append(box)
    bottom = TOP + ROW * len(values)
    return Heat(
        width=LEFT + width * len(columns) + 4,
        height=bottom + 20,
        paths=tuple("".join(path) for path in paths),
        rows=tuple(Tick(at=TOP + n * ROW + 11, text=name) for n, name in enumerate(values)),
        columns=_column_ticks(columns, width),
        ranges=tuple((low + n * step, low + (n + 1) * step) for n in range(CLASSES)),
    )


def presence(outcomes: Mapping[str, Sequence[str]], numbers: Sequence[int]) -> Presence:
    """Place sites by rounds, a mark for each outcome.

    Args:
        outcomes: Row name to an outcome for each round: a key of ``MARKS``.
        numbers: The rounds.
    """
    marks: dict[str, list[str]] = {name: [] for name in MARKS}
    for line, row in enumerate(outcomes.values()):
        for place, outcome in enumerate(row):
            x, y = LEFT + _MARK * place, ROW * line + 4
            marks[outcome].append(f"M{x:.0f} {y:.0f}{MARKS[outcome]}")
    ticks = (
        Tick(at=LEFT + 4.5 + _MARK * place, text=str(number))
        for place, number in enumerate(numbers)
        if not place or number % 10 == 0
    )
    return Presence(
        width=LEFT + _MARK * len(numbers) + 4,
        height=ROW * len(outcomes) + 22,
        paths={name: "".join(each) for name, each in marks.items() if each},
        marks=MARKS,
        rows=tuple(Tick(at=ROW * n + 13, text=name) for n, name in enumerate(outcomes)),
        columns=tuple(ticks),
    )


def strip(readings: Sequence[Reading], since: str = "", *, width: float = 176.0) -> Strip:
    """Draw one channel's windows; the height says how unusual each one is."""
    each = min(16.0, width / max(1, len(readings)))
    width = max(84.0, each * len(readings))
    cells = tuple(
        _cell(reading, place * each, each - min(1.5, each / 5))
        for place, reading in enumerate(readings)
    )
    begun = next((n for n, one in enumerate(readings) if one.window == since), None)
    ends = (0, len(readings) - 1) if readings else ()
    ticks = tuple(Tick(at=place * each, text=readings[place].window) for place in ends)
    return Strip(
        width=width, cells=cells, since=None if begun is None else begun * each, ticks=ticks
    )


def loudest(channels: Mapping[str, Sequence[Reading]]) -> list[Reading]:
    """Return one reading a window: the most unusual of all channels."""
    found: dict[str, Reading] = {}
    for readings in channels.values():
        for one in readings:
            before = found.get(one.window)
            if before is None or _loudness(one) > _loudness(before):
                found[one.window] = one
    return [found[window] for window in sorted(found)]


def spark(values: Sequence[float | None], low: float, high: float) -> str:
    """Return the points of a small line over releases, on the range that all rows share."""
    width, height = _SPARK
    step = (width - 8) / max(1, len(values) - 1)
    span = max(high - low, 0.02)
    points = [
        f"{4 + place * step:.1f},{4 + (height - 8) * (1 - (value - low) / span):.1f}"
        for place, value in enumerate(values)
        if value is not None
    ]
    return " ".join(points)


def _alike(classes: Sequence[int | None], *, apart: bool) -> Iterator[tuple[int, int, int]]:
    """Yield class, first place and number of neighbours of one class; each alone if ``apart``."""
    place = 0
    for which, same in groupby(classes):
        count = len(list(same))
        if which is not None:
            yield from (
                ((which, place + n, 1) for n in range(count)) if apart else ((which, place, count),)
            )
        place += count


def _box(x: float, y: float, width: float, *, gap: bool) -> str:
    across = max(0.8, width - (1.0 if gap else 0.0))
    return f"M{x:.1f} {y:.0f}h{across:.1f}v{ROW - 2:.0f}h-{across:.1f}z"


def _column_ticks(columns: Sequence[str], width: float) -> tuple[Tick, ...]:
    room = max(1, math.ceil(max(map(len, columns)) * 6.5 / width))
    return tuple(
        Tick(at=LEFT + (place + 0.5) * width, text=name)
        for place, name in enumerate(columns)
        if place % room == 0
    )


def _loudness(reading: Reading) -> tuple[bool, float]:
    return reading.over, 1.0 - (1.0 if reading.p is None else reading.p)


def _cell(reading: Reading, x: float, width: float) -> Cell:
    share, level, said = 0.25, "calm", "as before"
    if reading.p is not None and reading.p < ODD:
        share, level, said = (1.0, "odd", "far off") if reading.p < FAR else (0.6, "odd", "unusual")
    if reading.over:
        share, level, said = 1.0, "alarm", "over the limit"
    height = 20.0 * share
    return Cell(
        x=round(x, 2), y=22.0 - height, width=round(width, 2), height=height,
        level=level, title=f"{reading.window}: {said}",  # type: ignore[arg-type]
    )  # fmt: skip
