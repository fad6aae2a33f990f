"""Say what an alarm probably is and what the change cost: read once, when it is raised.

The site's windows since the change are pooled and compared with its reference. The kind in the
table ``alarms`` is then the likeliest one, with its probability; the whole of it, and the drop
of the Brier score in parts, become an event ``diagnosis``. Which windows alarm is decided
before this, in ``shifts``. The kinds were fitted on windows of scores: an alarm about outlines
keeps the kind of its channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aggregator.shifts import History
from aggregator.tables import Alarm
from fedrad import seeds
from fedrad.shift.blocks import Layout
from fedrad.shift.diagnosis import named, posterior
from fedrad.shift.drop import METRIC, Drop, split
from fedrad.shift.estimates import counted
from fedrad.shift.evidence import KINDS

EVENT = "diagnosis"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An alarm with its kind, and what the event says; no detail where nothing was readable."""

    alarm: Alarm
    detail: Mapping[str, Any] | None


def diagnosed(alarm: Alarm, own: History, layout: Layout, *, seed: int) -> Diagnosis:
    """Return an alarm with its likeliest kind and that kind's probability.

    Args:
        alarm: As ``shifts`` raised it, with the kind of its channel.
        own: The windows of its site.
        layout: What is public about their blocks.
        seed: The study's, for the bootstrap of the drop.
    """
    first, last = own.names.index(alarm.since_window), own.names.index(alarm.window)
    parts = own.since(first, last)
    found = posterior(parts, layout) if layout.kind == "classification" else None
    if found is None:
        return Diagnosis(alarm, None)
    kind = named(found)
    said = f"{alarm.evidence}; probability of '{KINDS[kind][0]}' {found[kind]:.2f}"
    row = Alarm(
        window=alarm.window, site=alarm.site, channel=alarm.channel, kind=kind,
        since_window=alarm.since_window, posterior=found[kind], evidence=said,
    )  # fmt: skip
    rng = seeds.stream(seed, alarm.site, last, f"drop of {alarm.channel}")
    table = [part for part in parts if part[0].block("table") is not None]
    cost = None
    for released, reference in table:
        cost = split(
            reference.estimate, counted(released, layout), layout, posterior=found, rng=rng
        )
    why = "a class has too few patients" if table else "no table of labels was released"
    detail = {
        "window": alarm.window,
        "site": alarm.site,
        "channel": alarm.channel,
        "since": alarm.since_window,
        "kind": kind,
        "posterior": found,
        "drop": _told(cost),
        "why": "" if cost else why,
    }
    return Diagnosis(row, detail)


def _told(cost: Drop | None) -> dict[str, Any] | None:
    return None if cost is None else {"metric": METRIC, **asdict(cost)}
