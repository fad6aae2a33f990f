"""What came of an action that a person accepted, measured afterwards and never foretold.

A recalibration is looked at on windows after the one it was fitted on; a site that was set
aside by the figures of the others at the last release before and the last one since. Both read
what was released anyway. Before there is anything to measure, they say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from aggregator.shifts import History
from aggregator.store import Store
from aggregator.tables import Action, Alarm
from fedrad import seeds
from fedrad.metrics.metric import Interval
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import counted
from fedrad.shift.recalibration import (
    Effect,
    as_parameters,
    effect,
    fitted,
    from_parameters,
)

RECALIBRATE = "recalibrate"
UNKNOWN = "not measured yet: no later window has enough patients of both labels"


def parameters(own: History, alarm: Alarm, layout: Layout) -> dict[str, float]:
    """Return the recalibration that the windows since a change ask for; empty: none can be told."""
    first, last = own.names.index(alarm.since_window), own.names.index(alarm.window)
    for released, _ in own.since(first, last):
        if released.block("table") is not None:
            made = fitted(counted(released, layout), layout)
            return as_parameters(made) if made is not None else {}
    return {}


def recalibrated(
    store: Store,
    number: int,
    histories: Mapping[str, History],
    *,
    layout: Layout,
    seed: int,
) -> Iterator[Action]:
    """Yield the rows of a model's accepted recalibrations with what they did to later windows.

    Args:
        store: The run.
        number: The round that made the model; one of another model moves other scores.
        histories: Each site's windows of this model.
        layout: What is public about their blocks.
        seed: Of the run.
    """
    mine = {"action": RECALIBRATE, "decision": "accepted"}
    for row in store.rows("actions", round=number, **mine):
        own = histories.get(str(row["site"]))
        made = from_parameters(json.loads(row["parameters_json"]))
        later = [] if own is None else [name for name in own.names if name > row["window"]]
        if own is None or made is None or not later:
            continue
        rng = seeds.stream(seed, str(row["site"]), len(later), "effect of a recalibration")
        for released, _ in own.since(own.names.index(later[0]), len(own.names) - 1):
            if released.block("table") is not None:
                found = effect(counted(released, layout), layout, made, rng=rng)
                yield Action(**row | {"effect": _said(found, later)})


def of_others(rows: Sequence[Mapping[str, object]], site: str, number: int, metric: str) -> str:
    """Return how the other sites' mean of a metric went since a site was set aside.

    Args:
        rows: Of ``metrics`` after rounds: ``round``, ``site``, ``value`` of the federated model.
        site: Who was set aside; sums over sites are left out too.
        number: The last round in which it was asked.
        metric: Its name for readers.
    """
    values: dict[int, list[float]] = {}
    for row in rows:
        if row["site"] not in (site, "*", "macro", "worst") and row["value"] is not None:
            values.setdefault(int(str(row["round"])), []).append(float(str(row["value"])))
    before = [made for made in values if made <= number]
    after = [made for made in values if made > number]
    if not before or not after:
        return "effect not measured yet: no release since"
    old, new = (sum(values[made]) / len(values[made]) for made in (max(before), max(after)))
    return (
        f"{metric} of the others {old:.3f} at the release of round {max(before)}, {new:.3f} at "
        f"that of round {max(after)}"
    )


def _said(found: Effect | None, later: Sequence[str]) -> str:
    if found is None:
        return UNKNOWN
    (plain, moved), (loss, less) = found.errors, found.losses
    return (
        f"in {len(later)} later window{'s' * (len(later) > 1)} ({found.patients:.0f} patients): "
        f"calibration error {_shown(plain)} without it, {_shown(moved)} with it; Brier score "
        f"{_shown(loss)} and {_shown(less)}"
    )


def _shown(found: Interval) -> str:
    if not math.isfinite(found.value + found.lo + found.hi):
        return "not estimable"
    return f"{found.value:.3f} [{found.lo:.3f}, {found.hi:.3f}]"
