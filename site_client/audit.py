"""The site's own record of what it did and what left it: ``audit.jsonl``.

For the hospital's eyes only: it may name numbers that never cross the wire, such as the
epsilon behind a refusal. It holds no patient and no pixel. How lines are chained and checked
is ``fedrad.audit_log``'s business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedrad import audit_log
from fedrad.clock import Clock

NAME = "audit.jsonl"
_LEAVING = ("answered", "sent again", "adopted", "shared")  # notes with a ledger's head


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
    audit_log.record(home / NAME, clock, kind, **detail)


def read(home: Path) -> list[dict[str, Any]]:
    """Return every event, oldest first; a torn line is left out."""
    return audit_log.read(home / NAME)


def last_head(home: Path) -> str:
    """Return the ledger's head when something last left, or it was mended; empty before that."""
    kept = [note for note in read(home) if note["kind"] in _LEAVING]
    return str(kept[-1].get("ledger_head", "")) if kept else ""
