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
from fedrad.errors import ProtocolError
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.agreed import RECORD, releases_of
from fedrad.shift.pairs import OUTLINED, SIZES
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
    every = told(store.rows("reports", round=model.round), phase)
    found = {site: tuple(r for r in own if RECORD not in r.windows) for site, own in every.items()}
    return {site: own for site, own in found.items() if own}


def records(store: Store, model: Promoted, phase: Phase) -> dict[str, Released]:
    """Return what each site released of the time before the windows."""
    every = told(store.rows("reports", round=model.round), phase)
    return {site: own[0] for site, own in every.items() if RECORD in own[0].windows}


def told(rows: Sequence[Mapping[str, Any]], phase: Phase) -> dict[str, tuple[Released, ...]]:
    """Return each site's releases of one kind from rows of ``reports``, ``RECORD`` first."""
    found = _blocks(rows, releases_of(phase))
    sites: dict[str, list[Released]] = defaultdict(list)
    for (site, window), blocks in sorted(found.items(), key=lambda item: _in_order(*item[0])):
        sites[site].append(Released((window,), blocks))
    return {site: tuple(releases) for site, releases in sites.items()}


def refuse_replayed(store: Store, model: Promoted, site: str, blocks: Sequence[Block]) -> None:
    """Refuse sums that a site released before, for another window: noise never comes twice.

    Exact sums of a simulation may be the same by chance and are taken.

    Raises:
        ProtocolError: Names the block and the window it was told for.
    """
    noisy = {b.name: tuple(b.values.tolist()) for b in blocks if b.sigma > 0 and len(b.values) > 1}
    before: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in store.rows("reports", round=model.round, site=site):
        if row["window"] and row["block"] in noisy and row["value"] is not None:
            before[str(row["window"]), str(row["block"])][int(row["idx"])] = float(row["value"])
    for (window, name), values in before.items():
        if tuple(values[place] for place in sorted(values)) == noisy[name]:
            raise ProtocolError(f"block {name!r} was released before, for the window {window}")


def compared(store: Store, number: int, pair: str) -> dict[str, tuple[Block, ...]]:
    """Return each site's paired comparison of the model of round ``number``.

    Args:
        store: The run.
        number: The round that made the new model.
        pair: Digest of both models together: a comparison with another model is another's.
    """
    rows = store.rows("reports", round=number, window=COMPARE, model_digest=pair)
    found = _blocks(rows, (frozenset(SIZES), frozenset(OUTLINED)))
    return {site: blocks for (site, _), blocks in sorted(found.items())}


def _in_order(site: str, window: str) -> tuple[str, bool, str]:
    return site, window != RECORD, window


def _blocks(
    rows: Sequence[Mapping[str, Any]], kinds: Sequence[frozenset[str]]
) -> dict[tuple[str, str], tuple[Block, ...]]:
    """Return the blocks of every site and window that has all of one of these kinds.

    Of two kinds the first counts: a release that tells more than another holds its names too.
    """
    parts: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(dict)
    for row in rows:
        if row["window"]:
            own = parts[str(row["site"]), str(row["window"])]
            own.setdefault(str(row["block"]), []).append(row)
    found = {}
    for key, told_blocks in parts.items():
        names = next((kind for kind in kinds if kind <= told_blocks.keys()), frozenset())
        if names:
            own_rows = ((name, told_blocks[name]) for name in told_blocks if name in names)
            found[key] = tuple(_block(name, one) for name, one in own_rows)
    return found


def _block(name: str, rows: Sequence[Mapping[str, Any]]) -> Block:
    ordered = sorted(rows, key=lambda row: int(row["idx"]))
    values = [np.nan if row["value"] is None else float(row["value"]) for row in ordered]
    sigma, sensitivity = float(ordered[0]["sigma"]), float(ordered[0]["sensitivity"])
    return Block(name=name, values=np.array(values), sigma=sigma, sensitivity=sensitivity)
