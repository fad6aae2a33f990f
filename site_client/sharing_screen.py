"""A feasibility record in words, for the person who decides whether it may leave."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from fedrad.feasibility.cells import layout
from fedrad.feasibility.record import MOST_BYTES, Record
from fedrad.metrics.metric import Z
from fedrad.planning.forecast import finite
from fedrad.planning.wording import folded
from fedrad.privacy.accounting import FALSE_ALARM, best_attack
from fedrad.privacy.bounds import EVERYBODY
from fedrad.site_report import FEASIBILITY, deviation
from fedrad.task import task_hash
from site_client.allowance import Allowance
from site_client.guard import OWN
from site_client.sharing import Counted, Offer


def as_text(found: Offer, width: int) -> str:
    """Return what would leave, what it costs and what is left, ``width`` columns wide."""
    return folded([*_what(found), "", *_cost(found), "", *_left(found)], width)


def as_table(found: Offer) -> dict[str, Any]:
    """Return the offer as plain values; ``here`` is exact and for this site's eyes."""
    cells = layout(found.task)
    table = {
        "site": found.site,
        "task": found.task.task.name,
        "task_hash": task_hash(found.task),
        "number": found.number,
        "epsilon": found.epsilon,
        "noise": found.event.multiplier,
        "attack": best_attack([found.event], false_alarm=FALSE_ALARM),
        "here": {
            block.name: dict(zip(cells[block.name], map(int, block.values), strict=True))
            for block in found.tally.blocks
        },
        "plus_minus": {name: _plus_minus(found, name) for name in FEASIBILITY},
        "limits": [dataclasses.asdict(one) for one in found.limits],
        "rounds": {
            "wanted": found.study_before.rounds_wanted,
            "before": found.study_before.rounds_allowed,
            "after": found.study_after.rounds_allowed,
        },
    }
    return finite(table)  # type: ignore[no-any-return]


def shared_table(record: Record, path: str, *, made: bool) -> dict[str, Any]:
    """Return what was handed out as one JSON object."""
    return {
        "file": path,
        "site": record.site,
        "task_hash": record.task_hash,
        "number": record.number,
        "noise": record.noise,
        "charged": made,
    }


def shared_text(record: Record, path: str, *, made: bool) -> str:
    """Return what was handed out in one line."""
    how = "charged once" if made else "made before, nothing is charged"
    return f"{path}: record {record.number} of this site, {how}; send it to the coordinator"


def _what(found: Offer) -> Iterator[str]:
    name = f"{found.task.task.name} ({task_hash(found.task)[:12]})"
    yield (
        f"What would leave: one file of under {MOST_BYTES} bytes about the task {name}, with the "
        "name of this site and these numbers with noise (the exact ones stay here)."
    )
    for block in found.tally.blocks:
        names, sure = layout(found.task)[block.name], round(_plus_minus(found, block.name))
        yield f"  {block.name}, each within about ±{sure}:"
        here = [
            f"{int(value)} {name}" for name, value in zip(names, block.values, strict=True) if value
        ]
        empty = len(names) - len(here)
        yield f"    {', '.join(here)}" + (f"; 0 in {empty} other cells" if empty else "")


def _cost(found: Offer) -> Iterator[str]:
    share = math.ceil(100 * best_attack([found.event], false_alarm=FALSE_ALARM) - 1e-9)
    delta = found.limits[-1].delta
    yield (
        f"What it costs: epsilon {found.epsilon:g} at delta {delta:g} for every patient of this "
        f"site (noise {found.event.multiplier:g})."
    )
    yield (
        f"  Of it alone, at {FALSE_ALARM * 100:g} % false alarms a perfect attacker recognises at "
        f"most {share} % of patients."
    )
    if found.number > 1:
        yield f"  It would be record {found.number} of this task: the earlier ones stay charged."


def _left(found: Offer) -> Iterator[str]:
    yield "What is left afterwards:"
    for one in (limit for limit in found.limits if limit.limit != OWN):
        whose = "" if one.stream == EVERYBODY else f", {one.stream} patients"
        yield f"  {one.limit}{whose}: {_counts(one)}"
    before, after = found.study_before, found.study_after
    said = f"{_rounds(before)} now, {_rounds(after)} then"
    yield f"  rounds of this study that site.toml allows: {said}"
    if after.rounds_allowed < before.rounds_allowed:
        yield (
            "  A second contract makes all of them count by a filter, about a fifth higher: raise "
            "epsilon_limit, or agree on a smaller epsilon, before the study starts."
        )


def _counts(one: Counted) -> str:
    left = max(0.0, one.most - one.after)
    return (
        f"epsilon {one.before:.2f} now, {one.after:.2f} then, of {one.most:g} "
        f"({left:.2f} left at delta {one.delta:g})"
    )


def _rounds(found: Allowance) -> str:
    return f"{found.rounds_allowed} of {found.rounds_wanted}"


def _plus_minus(found: Offer, name: str) -> float:
    block = next(one for one in found.tally.blocks if one.name == name)
    return Z * deviation(block, sigma=found.event.multiplier, share=FEASIBILITY[name])
