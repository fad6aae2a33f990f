"""The validation gate: a round that makes the model worse at several sites at once is held.

The rule is public and looks at released intervals alone. A site's primary metric fell if its
interval lies wholly on the worse side of the interval it had at the last measured round that
the model descends from: more than the two intervals explain. A round is held if that
happened at two sites or more, and at a third or more of those that were measured both times.
Only sites that train together count. What holding means for the model is the strategy's
business; a person may set it otherwise (``decisions.roll_back``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aggregator.lineage import HELD, read_lineage
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Action, Release
from fedrad.durable import canonical_json
from fedrad.metrics.metric import LOW_IS_GOOD

FEWEST, SHARE = 2, 1 / 3  # sites, and share of those measured both times
GATE = "gate"  # who decides
_SPLIT, _MODEL = "audit", "global"
Intervals = Mapping[str, tuple[float, float]]  # site -> lo, hi


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """A metric that fell at too many sites."""

    metric: str
    back_to: int  # the round whose model is better
    fell: dict[str, tuple[tuple[float, float], tuple[float, float]]]  # site -> before, now
    measured: int  # sites that were measured both times

    @property
    def table(self) -> dict[str, Any]:
        """What the history says."""
        sites = {site: [list(before), list(now)] for site, (before, now) in self.fell.items()}
        return {
            "back_to": self.back_to,
            "metric": self.metric,
            "measured": self.measured,
            "sites": sites,
        }


def fallen(before: Intervals, now: Intervals, metric: str) -> tuple[str, ...]:
    """Return the sites at which a metric fell, if they are enough to hold a round; else none."""
    both = sorted(before.keys() & now.keys())
    worse = tuple(site for site in both if _is_worse(before[site], now[site], metric))
    enough = len(worse) >= FEWEST and len(worse) >= SHARE * len(both)
    return worse if enough else ()


def fall_at(setup: RunSetup, store: Store, number: int) -> Fall | None:
    """Return what makes round ``number`` one to hold; ``None``: nothing."""
    metric, earlier = setup.task.analysis.primary, read_lineage(store).measured(number)
    if not earlier:
        return None
    before, now = (_intervals(setup, store, n, metric) for n in (earlier, number))
    sites = fallen(before, now, metric)
    if not sites:
        return None
    fell = {site: (before[site], now[site]) for site in sites}
    measured = len(before.keys() & now.keys())
    return Fall(metric=metric, back_to=earlier, fell=fell, measured=measured)


def hold(store: Store, number: int, fall: Fall, *, model_digest: str) -> None:
    """Record that a measured round is held: its state, its event and both decisions, or none."""
    table = canonical_json(fall.table).decode("utf-8")
    reason = f"{fall.metric} fell at {len(fall.fell)} of {fall.measured} sites"
    effect = f"the model is that of round {fall.back_to}"
    action = Action(
        round=number, site="*", action="hold", parameters_json=table, reason=reason,
        decided_by=GATE, decision="done", effect=effect,
    )  # fmt: skip
    release = Release(
        round=number, model_digest=model_digest, decision="harm", by=GATE, reasons_json=table,
        signature="",
    )  # fmt: skip
    store.hold_round(number, HELD, detail=fall.table, also=(action, release))


def _intervals(setup: RunSetup, store: Store, number: int, metric: str) -> Intervals:
    rows = store.rows("metrics", round=number, metric=metric, split=_SPLIT, model=_MODEL, window="")
    return {
        row["site"]: (float(row["lo"]), float(row["hi"]))
        for row in rows
        if row["site"] in setup.contract.trainers and None not in (row["lo"], row["hi"])
    }


def _is_worse(before: tuple[float, float], now: tuple[float, float], metric: str) -> bool:
    if metric in LOW_IS_GOOD:
        return now[0] > before[1]
    return now[1] < before[0]
