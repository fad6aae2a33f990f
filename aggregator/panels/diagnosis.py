"""What an alarm probably is, and what it costs: probabilities of kinds, and the drop in parts.

Reads events of kind ``diagnosis`` as they were recorded: the last of each site and channel. A
diagnosis without labels has no drop and says why. Nothing is estimated here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.run_folder import Run
from fedrad.shift.evidence import KINDS

EVENT = "diagnosis"
SURE = 0.8  # probability from which a kind is called probable without a second
WIDTH, NAMES = 360.0, 156.0  # of a drawing and of its names
SPOKEN: Mapping[str, str] = {
    "none": "no change",
    "label": "share of positives",
    "covariate": "images and patients",
    "concept": "labels mean something else",
    "unexplained": "unexplained",
}
METRICS: Mapping[str, str] = {"brier": "Brier score", "auroc": "AUROC", "ece": "calibration error"}
LOW_IS_GOOD = ("brier", "ece")


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a drawing: what it is called, from where to where, and its whiskers."""

    name: str
    said: str
    x: float
    width: float
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One site's alarm: sentences and bars of both drawings."""

    title: str
    sentence: str
    kinds: tuple[Bar, ...]
    drop_sentence: str
    drop: tuple[Bar, ...]
    zero: float  # where the drawing of parts has its 0


def diagnoses(run: Run) -> tuple[Diagnosis, ...]:
    """Return the last diagnosis of each site and channel, in reader's order."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for row in run.tables["events"]:
        if row["kind"] == EVENT:
            detail = json.loads(row["detail_json"])
            last[str(detail["site"]), str(detail["channel"])] = detail
    order = {site: place for place, site in enumerate(run.sites)}
    keys = sorted(last, key=lambda key: (order.get(key[0], len(order)), key[1]))
    return tuple(_diagnosis(run, last[key]) for key in keys)


def spoken_kind(kind: str) -> str:
    """Return what readers call a kind of change."""
    return KINDS[kind][0] if kind in KINDS else SPOKEN.get(kind, kind)


def _diagnosis(run: Run, detail: Mapping[str, Any]) -> Diagnosis:
    posterior: dict[str, float] = detail["posterior"]
    title = f"{run.full_name(detail['site'])}, window of {detail['window']}"
    drop = detail.get("drop")
    bars, zero = _waterfall(drop) if drop else ((), 0.0)
    return Diagnosis(
        title=title,
        sentence=_sentence(posterior, detail.get("since") or detail["window"]),
        kinds=tuple(_probabilities(posterior)),
        drop_sentence=_drop_sentence(drop) if drop else _no_drop(detail),
        drop=bars,
        zero=zero,
    )


def _sentence(posterior: Mapping[str, float], since: str) -> str:
    (kind, most), (second, next_) = sorted(posterior.items(), key=lambda item: -item[1])[:2]
    said = f"Since the window of {since} most likely: {spoken_kind(kind)} ({_percent(most)})"
    if most >= SURE:
        return f"{said}."
    return f"{said}, then {spoken_kind(second)} ({_percent(next_)})."


def _probabilities(posterior: Mapping[str, float]) -> Iterator[Bar]:
    room = WIDTH - NAMES - 40
    for kind, share in sorted(posterior.items(), key=lambda item: -item[1]):
        yield Bar(spoken_kind(kind), _percent(share), NAMES, round(room * share, 1))


def _drop_sentence(drop: Mapping[str, Any]) -> str:
    before, after = float(drop["before"]), float(drop["after"])
    name = METRICS.get(drop["metric"], drop["metric"])
    parts = sorted(drop["parts"], key=lambda part: -abs(part["value"]))
    named = ", ".join(f"{_spoken_part(part)} {_signed(part['value'])}" for part in parts)
    worse = (after > before) == (drop["metric"] in LOW_IS_GOOD)
    how = "worse" if worse and after != before else "no worse"
    return f"{name} {before:.3f} before, {after:.3f} now, {how}; of that {named}."


def _no_drop(detail: Mapping[str, Any]) -> str:
    why = str(detail.get("why") or "no reason was recorded")
    return f"What it costs is not estimable: {why}."


def _waterfall(drop: Mapping[str, Any]) -> tuple[tuple[Bar, ...], float]:
    """Place the parts one after the other, each where the one before it ended.

    Returns:
        Bars with x and whiskers in the drawing, and the place of no change.
    """
    spans, at = [], 0.0
    for part in drop["parts"]:
        spans.append((at, part))
        at += float(part["value"])
    ends = [0.0, at, *_reach(spans)]
    low, high = min(ends), max(ends)
    scale = (WIDTH - NAMES - 50) / max(high - low, 1e-9)

    def x(value: float) -> float:
        return round(NAMES + scale * (value - low), 1)

    bars = [
        _part(start, part, x(start), x(start + float(part["value"])), x) for start, part in spans
    ]
    whole = Bar("all", _signed(at), min(x(0.0), x(at)), round(abs(x(at) - x(0.0)), 1))
    return (*bars, whole), x(0.0)


def _reach(spans: Sequence[tuple[float, Mapping[str, Any]]]) -> Iterator[float]:
    for start, part in spans:
        yield start + float(part["value"])
        for end in ("lo", "hi"):
            if part.get(end) is not None:
                yield start + float(part[end])


def _part(start: float, part: Mapping[str, Any], left: float, right: float, x: Any) -> Bar:
    ends = [None if part.get(end) is None else x(start + float(part[end])) for end in ("lo", "hi")]
    name, value = _spoken_part(part), _signed(part["value"])
    return Bar(name, value, min(left, right), round(abs(right - left), 1), *ends)


def _spoken_part(part: Mapping[str, Any]) -> str:
    return SPOKEN.get(str(part["name"]), str(part["name"]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.3f}"
