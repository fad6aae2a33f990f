"""The report's drawings as numbers: where each line, band and mark goes.

Everything is plain geometry in the units of an SVG view box, the same for the same input;
the templates draw it inline, so that colours follow the page and paper. Nothing here knows
where the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 280.0, 168.0  # one panel of a curve
LEFT, RIGHT, TOP, BOTTOM = 36.0, 14.0, 10.0, 24.0
ROW_WIDTH, ROW_HEIGHT = 220.0, 26.0  # one line of a forest plot

Interval = tuple[float | None, float | None]
Point = tuple[int, float, float | None, float | None]  # round, value, lo, hi


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis, with its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One curve in front of the others."""

    line: str
    band: str  # empty: no interval, or one release only
    dots: tuple[tuple[float, float], ...]
    whiskers: tuple[tuple[float, float, float], ...]  # x, y of lo, y of hi
    others: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One difference with its interval on the shared axis."""

    low: float
    high: float
    middle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The rows of a forest plot by name, and the axis under them."""

    rows: dict[str, ForestRow]
    zero: float
    margin: tuple[float, float]  # left edge and width of the band that counts as equal
    ticks: tuple[Tick, ...]


def panels(curves: Mapping[str, Sequence[Point]]) -> dict[str, Panel]:
    """Return one panel for each name, all on the same axes.

    Args:
        curves: Points in round order, values in [0, 1]; at least one point each.
    """
    rounds = sorted({point[0] for points in curves.values() for point in points})
    values = [v for points in curves.values() for p in points for v in p[1:] if v is not None]
    if not values:
        return {}
    axes = _Axes(rounds, _nice_range(min(values), max(values)))
    lines = {name: axes.line([(p[0], p[1]) for p in points]) for name, points in curves.items()}
    return {
        name: Panel(
            line=lines[name],
            band=axes.band(points),
            dots=tuple((axes.x(p[0]), axes.y(p[1])) for p in points),
            whiskers=axes.whiskers(points),
            others=tuple(line for other, line in lines.items() if other != name),
            x_ticks=axes.x_ticks(),
            y_ticks=axes.y_ticks(),
        )
        for name, points in curves.items()
    }


def forest(rows: Mapping[str, tuple[float, float, float]], margin: float) -> Forest:
    """Place differences (value, lo, hi) on one axis that is symmetric about 0."""
    reach = max([abs(v) for row in rows.values() for v in row] + [2 * margin, 0.02])
    step = _step(reach)
    limit = math.ceil(reach / step - 1e-9) * step

    def x(value: float) -> float:
        return round(ROW_WIDTH * (0.5 + 0.46 * value / limit), 2)

    ticks = tuple(Tick(at=x(v), text=signed(v)) for v in (-limit, 0.0, limit))
    return Forest(
        rows={
            name: ForestRow(low=x(lo), high=x(hi), middle=x(value))
            for name, (value, lo, hi) in rows.items()
        },
        zero=x(0),
        margin=(x(-margin), round(x(margin) - x(-margin), 2)),
        ticks=ticks,
    )


def signed(value: float) -> str:
    """Return a difference with its sign: ``+0.043``, ``−0.010``; 0 has none."""
    text = f"{abs(value):.3f}".rstrip("0").rstrip(".") if value == 0 else f"{abs(value):.3f}"
    if value == 0:
        return text
    return ("+" if value > 0 else "−") + text


class _Axes:
    def __init__(self, rounds: Sequence[int], y_range: tuple[float, float]) -> None:
        self.rounds, (self.low, self.high) = rounds, y_range
        self.first, self.last = rounds[0], max(rounds[-1], rounds[0] + 1)

    def x(self, number: int) -> float:
        if len(self.rounds) == 1:
            return round((LEFT + WIDTH - RIGHT) / 2, 2)
        share = (number - self.first) / (self.last - self.first)
        return round(LEFT + 6 + share * (WIDTH - LEFT - RIGHT - 12), 2)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)

    def line(self, points: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{self.x(number):g},{self.y(value):g}" for number, value in points)

    def band(self, points: Sequence[Point]) -> str:
        whole = [(n, lo, hi) for n, _, lo, hi in points if lo is not None and hi is not None]
        if len(whole) < 2:
            return ""
        upper = [(n, hi) for n, _, hi in whole]
        return self.line(upper + [(n, lo) for n, lo, _ in reversed(whole)])

    def whiskers(self, points: Sequence[Point]) -> tuple[tuple[float, float, float], ...]:
        return tuple(
            (self.x(n), self.y(lo), self.y(hi))
            for n, _, lo, hi in points
            if lo is not None and hi is not None
        )

    def x_ticks(self) -> tuple[Tick, ...]:
        many = len(self.rounds) > 6
        shown = [self.rounds[0], self.rounds[len(self.rounds) // 2], self.rounds[-1]]
        return tuple(Tick(at=self.x(n), text=str(n)) for n in (shown if many else self.rounds))

    def y_ticks(self) -> tuple[Tick, ...]:
        step = _step(self.high - self.low)
        count = round((self.high - self.low) / step)
        values = [self.low + i * step for i in range(count + 1)]
        return tuple(Tick(at=self.y(v), text=f"{v:.2f}") for v in values)


def _nice_range(low: float, high: float) -> tuple[float, float]:
    step = _step(max(high - low, 0.04))
    bottom = math.floor(low / step + 1e-9) * step
    top = math.ceil(high / step - 1e-9) * step
    return bottom, top if top > bottom else bottom + step


def _step(span: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that cuts the span in 2 to 5."""
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
