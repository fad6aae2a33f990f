"""The numbers on top of the first screen: who is there, how far, how long, how many alarms.

What was not measured has no value; the time left is said while a run goes on and rounds were
finished.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aggregator.lineage import CHANGING
from aggregator.run_folder import Row, Run
from aggregator.wording import duration

_RECENT = 12  # rounds whose duration says how long one takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number of the first screen."""

    name: str
    value: str  # empty: not measured
    more: str = ""
    look: bool = False


def course_tiles(
    run: Run,
    rounds: Sequence[Row],
    last: Sequence[Row],
    *,
    online: Mapping[str, str],
    now: datetime,
) -> tuple[Tile, ...]:
    """Return who is there, the round, the quorum and the time left; arguments as ``site_lines``."""
    planned = run.task.federation.rounds if run.task else None
    number = rounds[-1]["round"] if rounds else 0
    state = rounds[-1]["state"] if rounds else "not begun"
    return (
        _up_tile(run, last, online),
        Tile(name="Round", value=f"{number} of {planned}" if planned else str(number), more=state),
        _quorum_tile(run, rounds, last),
        _time_tile(run, rounds, now),
    )


def _up_tile(run: Run, last: Sequence[Row], online: Mapping[str, str]) -> Tile:
    if online:
        up = sum(online.get(site) == "online" for site in run.sites)
        all_up = up == len(run.sites)
        return Tile(name="Hospitals up", value=f"{up} of {len(run.sites)}", look=not all_up)
    there = len({row["site"] for row in last})
    value = f"{there} of {len(run.sites)}" if last else ""
    return Tile(
        name="Hospitals that replied", value=value,
        more=f"in round {last[0]['round']}" if last else "",
        look=bool(last) and there < len(run.sites),
    )  # fmt: skip


def _quorum_tile(run: Run, rounds: Sequence[Row], last: Sequence[Row]) -> Tile:
    if run.task is None or not last:
        return Tile(name="Quorum", value=str(run.task.federation.quorum) if run.task else "")
    need = run.task.federation.quorum
    done = sum(row["outcome"] == "done" and row["phase"] == "train" for row in last)
    met = done >= need
    void = sum(row["state"] == "void" for row in rounds)
    more = f"{done} usable, {need} needed" + (f"; {void} void so far" if void else "")
    return Tile(name="Quorum", value="met" if met else "not met", more=more, look=not met)


def _time_tile(run: Run, rounds: Sequence[Row], now: datetime) -> Tile:
    left = time_left_s(run, rounds)
    if run.about.get("status") != "running":
        ended = str(run.about.get("ended") or "")
        return Tile(
            name="Time left", value="none", more=f"{run.about.get('status', '')} {ended[:10]}"
        )
    begun = rounds[-1]["started"] if rounds and not rounds[-1]["ended"] else ""
    since = now - datetime.fromisoformat(begun) if begun else None
    more = f"this round: {duration(since.total_seconds())} so far" if since is not None else ""
    return Tile(
        name="Time left", value=f"about {_roughly(left)}" if left is not None else "", more=more
    )


def _roughly(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    return (
        f"{minutes} min" if not hours else f"{hours} h {rest} min" if hours < 24 else f"{hours} h"
    )


def alarm_tile(alarms: Sequence[Row], waiting: Sequence[Row]) -> Tile:
    """Return how many alarms there are, and how many proposals wait."""
    more = f"{len(waiting)} proposals wait" if len(waiting) != 1 else "1 proposal waits"
    return Tile(name="Alarms", value=str(len(alarms)), more=more, look=bool(alarms or waiting))


def time_left_s(run: Run, rounds: Sequence[Row]) -> float | None:
    """Return the seconds that the planned rounds still take, at the median of the last ones."""
    if run.about.get("status") != "running" or run.task is None:
        return None
    took = [
        (datetime.fromisoformat(row["ended"]) - datetime.fromisoformat(row["started"]))
        for row in rounds
        if row["ended"] and row["state"] in CHANGING
    ][-_RECENT:]
    made = sum(row["state"] in CHANGING for row in rounds)
    left = max(0, run.task.federation.rounds - made)
    return statistics.median(one.total_seconds() for one in took) * left if took else None
