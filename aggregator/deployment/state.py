"""Whether the coordinator's server runs: a lock that ends with its process, and a note.

One server for one home. The note is for people and other commands; the lock is the truth.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aggregator.deployment.superlink import FOLDER
from fedrad import durable
from fedrad.errors import RunError

LOCK, NOTE = "server.lock", "server.json"


@contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home's lock.

    Raises:
        RunError: Another server holds it.
    """
    path = home / FOLDER / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _take(descriptor):
            pid = read_note(home).get("pid", "?")
            raise RunError(f"the server of {home} runs already (process {pid})")
        yield
    finally:
        os.close(descriptor)


def is_running(home: Path) -> bool:
    """Whether a server holds the home's lock."""
    path = home / FOLDER / LOCK
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def write_note(home: Path, **values: Any) -> None:
    """Write what the server says of itself."""
    durable.write_json(home / FOLDER / NOTE, {"pid": os.getpid(), **values})


def read_note(home: Path) -> dict[str, Any]:
    """Return what the server last said of itself; nothing if it never did."""
    try:
        found = json.loads((home / FOLDER / NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
