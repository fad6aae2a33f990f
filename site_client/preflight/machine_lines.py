"""What a check says of the machine: room, memory, cores, clock.

The coordinator cannot be asked for the time: the clock is compared with what this site wrote
and holds, and with the machine's own steady seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from fedrad.clock import Clock
from site_client import audit
from site_client.archive_settings import is_open
from site_client.machine import Machine, time_zone
from site_client.preflight.lines import Line, ok, warning
from site_client.preflight.room import room_line
from site_client.preflight.stock import Place, Stock

_AHEAD = timedelta(minutes=5)  # of another machine's clock, such as a file server's
_JUMP_S = 2.0  # of the wall clock against steady seconds during one check


@dataclass(frozen=True, slots=True)
class Moment:
    """The wall clock and steady seconds at one time."""

    wall: datetime
    steady_s: float


def moment(clock: Clock) -> Moment:
    """Read both clocks."""
    return Moment(clock.now(), clock.monotonic_s())


def machine_lines(
    place: Place, stock: Stock, machine: Machine, *, began: Moment, clock: Clock
) -> Iterator[Line]:
    """Yield what there is to say of the machine.

    Args:
        place: Site and task.
        stock: For the room that its images take, and for times of files.
        machine: What was found.
        began: Both clocks when the check began.
        clock: To read them again.
    """
    if stock.room is not None:
        yield room_line(stock.room, place.settings)
    yield _memory(place, machine)
    yield _cores(place, machine)
    yield _clock(place, stock, began, moment(clock))


def _memory(place: Place, machine: Machine) -> Line:
    resources, reading = place.settings.resources, place.settings.reading
    readers = reading.workers * reading.memory_gib
    found = f"{machine.memory_gib:.1f} GiB here"
    limit = f"{resources.memory_gib:g} for rounds, up to {readers:g} to read files"
    if max(resources.memory_gib, readers) > machine.memory_gib:
        do = "lower [resources] memory_gib, [reading] workers or memory_gib"
        return warning("memory", found, limit=limit, do=do)
    return ok("memory", found, limit)


def _cores(place: Place, machine: Machine) -> Line:
    threads, workers = place.settings.resources.threads, place.settings.reading.workers
    found, limit = f"{machine.cores} here", f"threads {threads}, readers {workers}"
    if max(threads, workers) > machine.cores:
        do = "more than there are only gets in each other's way: lower threads or workers"
        return warning("cores", found, limit=limit, do=do)
    return ok("cores", found, limit)


def _clock(place: Place, stock: Stock, began: Moment, now: Moment) -> Line:
    jumped = (now.wall - began.wall).total_seconds() - (now.steady_s - began.steady_s)
    found = f"{now.wall:%Y-%m-%d %H:%M} UTC, {time_zone(now.wall)}"
    if hours := place.settings.archive.hours:
        found += f", {'inside' if is_open(hours, now.wall) else 'outside'} fetch hours {hours}"
    do = "set the machine's clock and keep it by NTP"
    if abs(jumped) > _JUMP_S:
        return warning("clock", f"{found}; it jumped by {jumped:.0f} s during this check", do=do)
    for what, latest in _times(place, stock.catalogue):
        if latest > now.wall + _AHEAD:
            said = f"{found}; {what} is of {latest:%Y-%m-%d %H:%M}, in the future"
            return warning("clock", said, do=f"{do}, or correct the times of files")
    return ok("clock", f"{found}; nothing here is of the future")


def _times(place: Place, catalogue: pd.DataFrame | None) -> Iterator[tuple[str, datetime]]:
    """Yield the latest time of what this site wrote and of what it reads."""
    notes = [str(note["time"]) for note in audit.read(place.home)]
    if notes:
        yield "the last note of audit.jsonl", datetime.fromisoformat(max(notes))
    if catalogue is not None and not catalogue.empty:
        seconds = int(catalogue["mtime_ns"].max()) // 10**9
        yield "the newest file of the archive", datetime.fromtimestamp(seconds, UTC)
