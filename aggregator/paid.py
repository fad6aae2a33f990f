"""What each site's patients have paid, recomputed from the rows of ``privacy``.

The rows are events, ``sigma`` being the noise multiplier. Epsilon is computed with the same
function that the sites use, never copied. Streams hold disjoint patients, and so do windows: a
patient pays the largest of them, not their sum; what is charged to ``other`` may touch anybody.
Delta is the task's. Writing the rows is ``spending``'s work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.run_folder import Row, Run
from fedrad.privacy.accounting import FALSE_ALARM, Event, best_attack, epsilon, site_epsilon


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What the most exposed patient of a site has paid; ``None`` is nothing recorded."""

    site: str
    streams: dict[str, float]  # epsilon of each; infinite where a release had no noise
    steps: int  # training steps
    delta: float
    epsilon: float | None
    attack: float | None  # share of participants recognised, at 1 % false alarms


def paid_by_site(run: Run) -> tuple[Paid, ...]:
    """Return what every site has paid, in reader's order; empty where none may be shown.

    Exact metrics have no epsilon, and then none is shown for the training either.
    """
    if run.task is None or run.exact:
        return ()
    delta = run.task.privacy.delta
    return tuple(_site(run.tables["privacy"], site, delta) for site in run.sites)


def attack_sentence(paid: Paid) -> str:
    """Say what epsilon means for a participant; empty if nothing was recorded."""
    if paid.attack is None:
        return ""
    share = f"{math.ceil(paid.attack * 100 - 1e-9)} %"
    return (
        f"at {100 * FALSE_ALARM:g} % false alarms a perfect attacker recognises at most {share} "
        "of participants"
    )


def _site(rows: Sequence[Row], site: str, delta: float) -> Paid:
    streams: dict[str, list[Event]] = {}
    for row in rows:
        if row["site"] == site:
            streams.setdefault(row["stream"], []).append(_event(row))
    if "window" in streams:  # other rows are other patients
        streams["window"] = [max(streams["window"], key=_cost)]
    return Paid(
        site=site,
        streams={name: epsilon(streams[name], delta) for name in sorted(streams, key=_order)},
        steps=sum(event.steps for event in streams.get("train", [])),
        delta=delta,
        epsilon=site_epsilon(streams, delta) if streams else None,
        attack=_attack(streams) if streams else None,
    )


def _event(row: Row) -> Event:
    return Event(
        mechanism=row["mechanism"], sigma=row["sigma"], q=row["q"], steps=int(row["steps"])
    )


def _cost(event: Event) -> float:
    return math.inf if event.multiplier == 0 else event.steps / event.multiplier**2


def _order(stream: str) -> tuple[bool, str]:
    return stream != "train", stream


def _attack(streams: Mapping[str, Sequence[Event]]) -> float:
    other = tuple(streams.get("other", ()))
    own = [tuple(events) for name, events in streams.items() if name != "other"]
    return max(best_attack(events + other, false_alarm=FALSE_ALARM) for events in [*own, ()])
