"""What this machine has: cores, memory, free disk, time zone. Read, never guessed.

Limits of a container (Linux cgroups) count: what is not this program's to use is not there.
Memory and disk are GiB, 2**30 bytes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at the machine."""

    cores: int  # that this program may use, 1 or more
    memory_gib: float
    free_gib: float  # on the disk of the folder that was asked about
    time_zone: str  # such as CET (UTC+01:00)


def read_machine(folder: Path) -> Machine:
    """Return what the machine has; ``folder``, or what of its path exists, names the disk."""
    return Machine(_cores(), _memory() / GIB, free_bytes(folder) / GIB, time_zone())


def free_bytes(folder: Path) -> int:
    """Return the bytes that this program may still write on the disk of ``folder``."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def time_zone(now: datetime | None = None) -> str:
    """Return the machine's own time zone with its distance from UTC at ``now``."""
    local = (now or datetime.now()).astimezone()  # noqa: DTZ005  # the machine's own zone is asked
    shift = local.strftime("%z")
    return f"{local.tzname()} (UTC{shift[:3]}:{shift[3:5]})" if int(shift[1:5]) else "UTC"


def _cores() -> int:
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = [*_limit("cpu.max").split(), "", ""][:2]
    if quota.isdecimal() and period.isdecimal():
        able = min(able, -(-int(quota) // int(period)))
    return max(1, able)


def _memory() -> int:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _limit("memory.max")
    return min(whole, int(limit)) if limit.isdecimal() else whole


def _limit(name: str) -> str:
    """Return what the container's own group says; empty where there is none."""
    try:
        return (_CGROUP / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
