"""A record that can only grow unseen: JSON lines, each with the hash of the one before.

Both ends keep one. ``verify`` finds a line that was changed, removed or moved. What was cut off
at the end shows against a head that was kept elsewhere: beside the record (``FILE.head``,
which whoever cuts must forge too), with the other end, or on a person's paper. What is recorded
is the callers' business: never a patient, never a pixel.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fedrad import durable
from fedrad.clock import Clock, stamp
from fedrad.durable import canonical_json
from fedrad.errors import DamagedStateError

_TAIL = 1 << 16  # bytes read first to find the last line; lines are a few hundred


@dataclass(frozen=True, slots=True)
class Head:
    """How far a record goes: the hash of its last line, and how many lines it has."""

    hash: str
    lines: int


def record(path: Path, clock: Clock, kind: str, **detail: Any) -> None:
    """Append one event durably; safe across processes.

    Args:
        path: The record; made if absent, readable by its owner alone.
        clock: Where the time comes from.
        kind: One word, such as ``"answered"`` or ``"declined"``.
        detail: JSON values; never a patient's.

    Raises:
        OSError: The disk refused; nothing was recorded.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        tail = _tail(file)
        line = {"time": stamp(clock), "kind": kind, "prev": _last_hash(tail), **detail}
        line["hash"] = _hash(line)
        torn = b"" if tail.endswith(b"\n") or not tail else b"\n"
        file.write(torn + canonical_json(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())
        with suppress(OSError):  # a head that lags behind is still a head of this record
            _keep_head(path, before=str(line["prev"]), after=str(line["hash"]))


def read(path: Path) -> list[dict[str, Any]]:
    """Return every event, oldest first; a torn line is left out."""
    return list(_whole(path.read_bytes())) if path.exists() else []


def verify(path: Path, *, heads: tuple[str, ...] = ()) -> Head:
    """Check the whole record; a line that a crash tore off may stand anywhere.

    Args:
        path: The record; an absent one has no line.
        heads: Hashes that were noted elsewhere: each must still be a line's.

    Returns:
        The record's head now; note it down to notice a shorter record later.

    Raises:
        DamagedStateError: A line was changed, removed, moved or added; names its number.
    """
    lines, before = read(path), ""
    for number, line in enumerate(lines, 1):
        if line.get("prev") != before:
            raise DamagedStateError(
                f"{path}: line {number} does not follow the one before: something was removed, "
                "moved or put in between"
            )
        if line["hash"] != _hash({name: value for name, value in line.items() if name != "hash"}):
            raise DamagedStateError(f"{path}: line {number} was changed after it was written")
        before = line["hash"]
    _refuse_cut(path, lines, heads)
    return Head(before, len(lines))


def head_path(path: Path) -> Path:
    """Return where the head of the record at ``path`` is kept beside it."""
    return path.with_name(f"{path.name}.head")


def _refuse_cut(path: Path, lines: list[dict[str, Any]], heads: tuple[str, ...]) -> None:
    known = {str(line["hash"]): number for number, line in enumerate(lines, 1)}
    for head in heads:
        if head not in known:
            raise DamagedStateError(
                f"{path} lacks the line with the hash {head}, which was seen before: its end was "
                "cut off or replaced"
            )
    kept = _kept_head(path)
    if kept is not None and known.get(kept.hash, 0) != kept.lines:
        raise DamagedStateError(
            f"{path} had {kept.lines} lines and another end when it was last written: its end "
            "was cut off or replaced"
        )


def _kept_head(path: Path) -> Head | None:
    beside = head_path(path)
    try:
        table = json.loads(beside.read_bytes())
        return Head(str(table["hash"]), int(table["lines"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedStateError(f"{beside} cannot be read; it was changed") from None


def _keep_head(path: Path, *, before: str, after: str) -> None:
    """Move the kept head on by one line, or find it anew where it is not that of ``before``."""
    try:
        kept = _kept_head(path)
    except DamagedStateError:
        return  # stays damaged, for ``verify`` to say
    if kept is None and before:
        kept = Head(before, len(read(path)) - 1)
    if kept is not None and kept.hash != before:
        if kept.hash not in {line["hash"] for line in read(path)}:
            return  # the record was cut before this line; ``verify`` says so
        kept = Head(before, len(read(path)) - 1)
    lines = kept.lines if kept else 0
    durable.write_json(head_path(path), {"hash": after, "lines": lines + 1})


def _hash(line: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(line)).hexdigest()


def _whole(content: bytes) -> Iterator[dict[str, Any]]:
    for text in content.split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "hash" in line:
            yield line


def _last_hash(tail: bytes) -> str:
    lines = list(_whole(tail))
    return str(lines[-1]["hash"]) if lines else ""


def _tail(file: BinaryIO) -> bytes:
    """Return the end of a record, with a whole line in it if there is one anywhere."""
    length, size = _TAIL, file.seek(0, os.SEEK_END)
    while True:
        file.seek(max(0, size - length))
        tail = file.read()
        if length >= size or _last_hash(tail):
            return tail
        length *= 4
