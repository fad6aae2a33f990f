"""The way of the data as one picture: what stays in the hospital, what crosses its border.

Inline SVG, drawn top down so that it can be read on a phone; lengths are its own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _BOX = 360, 20, 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What the picture names."""

    archive: str  # where images come from
    site: str
    proxy: str  # empty: none
    coordinator: str
    address: str
    down: str  # what comes in, with its size
    up: tuple[str, ...]  # what goes out, with sizes


def picture(way: Way) -> str:
    """Return the picture as one ``svg`` element."""
    proxy = [f"through the hospital's proxy {way.proxy}"] if way.proxy else []
    parts = [
        _zone(4, 268 + 18 * len(proxy), f"{way.site}: stays here"),
        _box(34, 50, "Images and labels", way.archive),
        _arrow(84, 118, "read only"),
        _box(118, 66, "fedrad on this hospital's machine", "prepares, trains, counts privacy",
             "exact counts, identifiers: never sent"),
        _text(206, [f"out: {line}" for line in way.up], x=_LEFT + 10),
        _text(206 + 18 * len(way.up), [f"in: {way.down}", *proxy], x=_LEFT + 10),
    ]  # fmt: skip
    border = 284 + 18 * len(proxy)
    parts += [
        _border(border),
        _arrow(border, border + 34, "one outgoing connection, TLS, both ends certified"),
        _box(border + 34, 50, way.coordinator, way.address),
        _arrow(border + 84, border + 112, "the mean of all hospitals"),
        _box(border + 112, 36, "Other hospitals, each the same way"),
    ]
    height = border + 156
    label = "Data flow: images stay, noised updates and figures leave over one connection"
    return (
        f'<svg class="flow" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _zone(top: int, height: int, name: str) -> str:
    return (
        f'<rect class="zone" x="4" y="{top}" width="{_WIDTH - 8}" height="{height}" rx="8"/>'
        f'<text class="strong" x="16" y="{top + 20}">{escape(name)}</text>'
    )


def _box(top: int, height: int, *lines: str) -> str:
    rows = "".join(
        f'<text class="{"strong" if not row else "soft"}" x="{_LEFT + 12}" '
        f'y="{top + 20 + 17 * row}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
    return (
        f'<rect class="box" x="{_LEFT}" y="{top}" width="{_BOX}" height="{height}" rx="5"/>{rows}'
    )


def _arrow(top: int, bottom: int, said: str) -> str:
    x = _LEFT + 24
    return (
        f'<path class="arrow" d="M{x} {top} V{bottom} m-4 -6 l4 6 l4 -6"/>'
        f'<text class="soft" x="{x + 12}" y="{(top + bottom) // 2 + 4}">{escape(said)}</text>'
    )


def _border(top: int) -> str:
    return f'<path class="border" d="M0 {top} H{_WIDTH}"/>'


def _text(top: int, lines: list[str], *, x: int) -> str:
    return "".join(
        f'<text x="{x}" y="{top + 18 * row}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )
