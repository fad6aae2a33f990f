"""The site's own record of what it did and what left it: ``audit.jsonl``.

For the hospital's eyes only: it may name numbers that never cross the wire, such as the
epsilon behind a refusal. It holds no patient, no path and no pixel. One JSON object a line,
each carrying the hash of the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fedrad.clock import Clock, stamp
from fedrad.durable import canonical_json

NAME = "audit.jsonl"


def record(home: Path, clock: Clock, kind: str, **detail: Any) -> None:
    """Append one event durably.

    Args:
        home: The site's folder.
        clock: Where the time comes from.
        kind: One word, such as ``"answered"`` or ``"declined"``.
        detail: JSON values; never a patient's.
    """
    path = home / NAME
    line = {"time": stamp(clock), "kind": kind, "prev": _last_hash(path), **detail}
    line["hash"] = hashlib.sha256(canonical_json(line)).hexdigest()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(canonical_json(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(home: Path) -> list[dict[str, Any]]:
    """Return every event, oldest first; a torn last line is left out."""
    path = home / NAME
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def _last_hash(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 8192))
        lines = [line for line in file.read().split(b"\n") if line]
    try:
        return str(json.loads(lines[-1])["hash"]) if lines else ""
    except (ValueError, KeyError):
        return ""
