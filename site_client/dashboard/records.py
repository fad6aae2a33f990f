"""The last lines of the site's record, for a page; the whole of it is ``fedrad-site audit``'s."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from site_client.audit import NAME

MOST_BYTES = 4 << 20

Line = dict[str, Any]


def recent(home: Path, most_bytes: int = MOST_BYTES) -> list[Line]:
    """Return the last whole lines, oldest first; a torn one is left out."""
    path = home / NAME
    if not path.exists():
        return []
    with path.open("rb") as file:
        begins = max(0, path.stat().st_size - most_bytes)
        file.seek(begins)
        lines = file.read().split(b"\n")[1 if begins else 0 :]
    return [line for line in map(_line, lines) if line is not None]


def local(time: str) -> datetime:
    """Return a line's time on this machine's clock."""
    return datetime.fromisoformat(time).astimezone()


def _line(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "kind" in line else None
