"""The site's own record of what it did and what left it: ``audit.jsonl``.

For the hospital's eyes only: it may name numbers that never cross the wire, such as the
epsilon behind a refusal. It holds no patient and no pixel. One JSON object a line, each
carrying the hash of the one before. A last line that was cut off by a crash stays where it
is and is left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fedrad.clock import Clock, stamp
from fedrad.durable import canonical_json

NAME = "audit.jsonl"
_TAIL = 1 << 16  # bytes read to find the last line; lines are a few hundred


def record(home: Path, clock: Clock, kind: str, **detail: Any) -> None:
    """Append one event durably; safe across processes.

    Args:
        home: The site's folder.
        clock: Where the time comes from.
        kind: One word, such as ``"answered"`` or ``"declined"``.
        detail: JSON values; never a patient's.

    Raises:
        OSError: The disk refused; nothing was recorded.
    """
    descriptor = os.open(home / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        tail = _tail(file)
        line = {"time": stamp(clock), "kind": kind, "prev": _last_hash(tail), **detail}
        line["hash"] = hashlib.sha256(canonical_json(line)).hexdigest()
        torn = b"" if tail.endswith(b"\n") or not tail else b"\n"
        file.write(torn + canonical_json(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(home: Path) -> list[dict[str, Any]]:
    """Return every event, oldest first; a torn line is left out."""
    path = home / NAME
    return list(_whole(path.read_bytes())) if path.exists() else []


def last_head(home: Path) -> str:
    """Return the ledger's head when the site last answered or mended it; empty before that."""
    kept = [note for note in read(home) if note["kind"] in ("answered", "adopted")]
    return str(kept[-1].get("ledger_head", "")) if kept else ""


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
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _TAIL))
    return file.read()
