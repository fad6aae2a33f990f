"""Reach real programs from outside: end them at a named point, fill their disk, move their clock.

On the search path of the programs that ``benchmarks/real_faults.py`` starts, and of no others;
Python imports it before a program's own code. A point is a sync, a rename or a write of a file
whose path holds a text. What is to happen to a program lies in a file of the folder
``REAL_FAULTS``, named after it, and is looked for at every point.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

WORDS = " ".join(sys.orig_argv)
_fsync, _replace, _write, _time = os.fsync, os.replace, os.write, time.time
_counts: dict[str, int] = {}


def _orders() -> list[tuple[Path, dict]]:
    """Return what is ordered for this program."""
    found = []
    for path in Path(os.environ["REAL_FAULTS"]).glob("*.json"):
        try:
            order = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if all(word in WORDS for word in order["program"]):
            found.append((path, order))
    return found


def _reached(what: str, path: str) -> None:
    for file, order in _orders():
        if order.get("point") != what or order.get("path", "") not in path:
            continue
        count = _counts[str(file)] = _counts.get(str(file), 0) + 1
        if count < order.get("nth", 1):
            continue
        if order["fault"] == "full":
            file.with_suffix(".fired").touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        _replace(file, file.with_suffix(".fired"))
        os.kill(os.getpid(), signal.SIGKILL)


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  # no file need be there
    except OSError:
        return ""


def fsync(descriptor: int) -> None:
    """Take the place of ``os.fsync``."""
    _reached("sync", _path_of(descriptor))
    _fsync(descriptor)


def replace(source, target, **more) -> None:
    """Take the place of ``os.replace``."""
    _reached("rename", str(target))
    _replace(source, target, **more)


def write(descriptor: int, content) -> int:
    """Take the place of ``os.write``."""
    _reached("write", _path_of(descriptor))
    return _write(descriptor, content)


def skew_s() -> float:
    """Return by how many seconds this program's wall clock is wrong."""
    return sum(order["skew_s"] for _, order in _orders() if order["fault"] == "clock")


if "REAL_FAULTS" in os.environ and ("aggregator" in WORDS or "site_client" in WORDS):
    os.fsync, os.replace, os.write = fsync, replace, write
    time.time = lambda: _time() + skew_s()
    from fedrad.clock import SystemClock

    _now = SystemClock.now
    SystemClock.now = lambda self: _now(self) + timedelta(seconds=skew_s())
