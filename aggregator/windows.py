"""The windows that a run's sites released: read from its tables, in order, as fedrad.shift reads.

A window is told in one release or in two, of which the labels come later. What is missing is
missing: no window is guessed. Collecting them is ``watch``'s work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregator.store import Store
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.agreed import RECORD, SHARES
from fedrad.shift.windows import Released

COMPARE = "compare"  # stands in the column ``window`` of a paired comparison
PROMOTE = "promote"
COMPARISON = ".compare-"  # after the name of a study, before a round: it is to be compared
WINDOWS = ".windows"  # after the name of a study, which has no dot: its windows are to be collected


@dataclass(frozen=True, slots=True)
class Promoted:
    """The model in use: the round that made it and its digest."""

    round: int
    model_digest: str


def promoted(store: Store) -> Promoted | None:
    """Return the model that was promoted last, by the history; ``None``: none was."""
    rows = {(row["round"], row["model_digest"]): row for row in store.rows("releases")}
    order = [row["round"] for row in store.rows("events") if row["kind"] == "promoted"]
    for number in reversed(order):
        for (made, digest), row in rows.items():
            if made == number and row["decision"] == PROMOTE:
                return Promoted(number, digest)
    return None


def released(store: Store, model: Promoted, phase: Phase) -> dict[str, tuple[Released, ...]]:
    """Return each site's windows of one kind for a model, in order of their dates."""
    found = _blocks(store.rows("reports", round=model.round), set(SHARES[phase]))
    sites: dict[str, list[Released]] = defaultdict(list)
    for (site, window), blocks in sorted(found.items()):
        if window != RECORD:
            sites[site].append(Released((window,), blocks))
    return {site: tuple(windows) for site, windows in sites.items()}


def records(store: Store, model: Promoted, phase: Phase) -> dict[str, Released]:
    """Return what each site released of the time before the windows."""
    found = _blocks(store.rows("reports", round=model.round), set(SHARES[phase]))
    return {
        site: Released((window,), blocks)
        for (site, window), blocks in sorted(found.items())
        if window == RECORD
    }


def compared(store: Store, number: int, pair: str) -> dict[str, tuple[Block, ...]]:
    """Return each site's paired comparison of the model of round ``number``.

    Args:
        store: The run.
        number: The round that made the new model.
        pair: Digest of both models together: a comparison with another model is another's.
    """
    rows = store.rows("reports", round=number, window=COMPARE, model_digest=pair)
    found = _blocks(rows, {"disagreement", "labels"})
    return {site: blocks for (site, _), blocks in sorted(found.items())}


def _blocks(
    rows: Sequence[Mapping[str, Any]], names: set[str]
) -> dict[tuple[str, str], tuple[Block, ...]]:
    """Return the blocks of these names of every site and window that has all of them."""
    parts: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(dict)
    for row in rows:
        if row["window"] and row["block"] in names:
            own = parts[str(row["site"]), str(row["window"])]
            own.setdefault(str(row["block"]), []).append(row)
    return {
        key: tuple(_block(name, own) for name, own in found.items())
        for key, found in parts.items()
        if set(found) == names
    }


def _block(name: str, rows: Sequence[Mapping[str, Any]]) -> Block:
    ordered = sorted(rows, key=lambda row: int(row["idx"]))
    values = [np.nan if row["value"] is None else float(row["value"]) for row in ordered]
    sigma, sensitivity = float(ordered[0]["sigma"]), float(ordered[0]["sensitivity"])
    return Block(name=name, values=np.array(values), sigma=sigma, sensitivity=sensitivity)
