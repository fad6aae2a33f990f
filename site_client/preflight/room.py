"""Room on the disk for the prepared images of a study.

What they will take is known before one is made: their number and the recipe's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedrad.task import Task, task_hash
from site_client.cache import FOLDER as CACHE
from site_client.cache import cached_bytes
from site_client.cohort import Cohort
from site_client.machine import GIB, free_bytes
from site_client.patients import Split
from site_client.preflight.lines import POLICY, Line, no, ok
from site_client.rosters import iter_in_use
from site_client.settings import SiteSettings

_IMAGE, _MASK = 4, 1  # bytes of a pixel: float32, uint8


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes on the disk of the home."""

    whole: int  # all prepared images of the study, at most
    there: int  # of them, what is made already
    free: int
    cached: int = 0  # of all tasks

    @property
    def missing(self) -> int:
        """What has yet to be written, at most."""
        return max(0, self.whole - self.there)


def read_room(home: Path, task: Task, cohorts: Mapping[Split, Cohort]) -> Room:
    """Return the room that a study needs and what there is.

    Raises:
        DamagedStateError: A record of the home cannot be read.
    """
    pixels, cap = math.prod(task.recipe.size), task.data.max_images_per_patient
    whole = sum(
        pixels * (_IMAGE + _MASK * bool(unit.truths))
        for cohort in cohorts.values()
        for units in cohort.units.values()
        for unit in units[:cap]
    )
    return Room(whole, _there(home, task_hash(task)), free_bytes(home), cached_bytes(home))


def room_line(room: Room, settings: SiteSettings) -> Line:
    """Say whether the study's images fit, with what must stay free."""
    keep = settings.archive.keep_free_gib
    found = f"{_gib(room.missing)} to write, {_gib(room.free)} free"
    limit = f"{keep:g} GiB stay free"
    if room.missing > room.free - keep * GIB:
        return no("disk", found, limit=limit, do="make room on the disk of the home")
    if room.missing + room.cached > settings.resources.disk_gib * GIB:
        return no(
            "disk",
            f"{_gib(room.missing)} to write, {_gib(room.cached)} in the cache",
            limit=f"disk_gib {settings.resources.disk_gib:g}",
            do="raise [resources] disk_gib in site.toml, if this hospital gives so much to studies",
            code=POLICY,
        )
    return ok("disk", found, limit)


def _there(home: Path, hash_: str) -> int:
    arrays = {
        name
        for used in iter_in_use(home)
        if used.roster.task_hash == hash_
        for names in used.arrays.values()
        for name in names
    }
    paths = (home / CACHE / name for name in arrays)
    return sum(path.stat().st_size for path in paths if path.exists())


def _gib(size: int) -> str:
    if size < GIB:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / GIB:.2f} GiB" if size < 10 * GIB else f"{size / GIB:.0f} GiB"
