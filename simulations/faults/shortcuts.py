"""What is left out or remembered so that thousands of schedules can be played.

Pure functions of files that do not change are computed once: what a task, a contract and the
settings of a home say, a task's hash, the versions of libraries. The records of letters on both
sides and the sizes of messages, which decide nothing, are left out. Everything else in a
schedule is the programs' own.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aggregator.correspondence
import aggregator.intake
import fedrad.privacy.ledger
import fedrad.task
import site_client.app
import site_client.correspondence
import site_client.round
import site_client.study
from fedrad.privacy.ledger import Line
from fedrad.task import Task
from simulations.faults.disk import replaced

_read: dict[Any, Any] = {}
_hashed: dict[int, tuple[Task, bytes]] = {}
_canonical = fedrad.task.canonical
_version = cache(importlib.metadata.version)


@contextmanager
def taken() -> Iterator[None]:
    """Take the shortcuts for a while."""
    at_site: Any = site_client.study
    letters: Any = aggregator.correspondence.Correspondence
    round_: Any = site_client.round
    intake: Any = aggregator.intake
    app: Any = site_client.app
    ledger: Any = fedrad.privacy.ledger
    with replaced(
        (at_site, "read_task", _once(at_site.read_task)),
        (at_site, "read_contract", _once(at_site.read_contract)),
        (round_, "read_site", _settings_once(round_.read_site)),
        (fedrad.task, "canonical", _canonical_once),
        (ledger, "asdict", _flat),
        (importlib.metadata, "version", _version),
        (letters, "_note", _no_letter),
        (intake, "content_bytes", _no_size),
        (app, "content_bytes", _no_size),
        (site_client.correspondence, "_note", _no_letter),
    ):
        yield


def _once(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def reading(path: Path) -> Any:
        key = (read.__name__, path.read_bytes())
        if key not in _read:
            _read[key] = read(path)
        return _read[key]

    return reading


def _settings_once(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def reading(home: Path) -> Any:
        key = (home, (home / "site.toml").read_bytes())
        if key not in _read:
            _read[key] = read(home)
        return _read[key]

    return reading


def _canonical_once(task: Task) -> bytes:
    if id(task) not in _hashed:
        _hashed[id(task)] = task, _canonical(task)  # the task stays, so that its id does
    return _hashed[id(task)][1]


def _no_letter(*_: Any, **__: Any) -> None:
    """Record nothing."""


def _no_size(_: Any) -> int:
    """Count nothing."""
    return 0


def _flat(line: Line) -> dict[str, Any]:
    """Return the fields of a ledger's line, which holds nothing that would have to be copied."""
    return {name: getattr(line, name) for name in Line.__slots__}
