"""Whether this hospital works now: its hours, and a pause that a person ordered.

``state/paused.json`` says who paused it and why. While it is there the site takes no question, and
one that is being worked on waits between two steps, as it does outside the hours; nothing is lost
and nothing is charged for waiting. The coordinator sees a site that is late, and no reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedrad import durable
from fedrad.clock import Clock, stamp
from fedrad.errors import DamagedStateError, RunError
from fedrad.hours import is_open, parse_hours
from site_client import audit
from site_client.settings import read_site

PAUSED = Path("state", "paused.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause: who ordered it, why, since when."""

    by: str
    reason: str
    since: str


def pause(home: Path, *, by: str, reason: str, clock: Clock) -> Pause:
    """Pause this site until ``resume``; the record has the line first.

    Raises:
        RunError: It is paused already, or the name or the reason is missing.
    """
    before = paused(home)
    if before is not None:
        raise RunError(f"{before.by} paused this site already: {before.reason}")
    _refuse_nobody(by, reason)
    ordered = Pause(by=by, reason=reason, since=stamp(clock))
    audit.record(home, clock, "paused", by=by, reason=reason)
    table = {"by": by, "reason": reason, "since": ordered.since}
    durable.write_json(home / PAUSED, table)
    return ordered


def resume(home: Path, *, by: str, reason: str, clock: Clock) -> None:
    """Let this site work again, within its hours.

    Raises:
        RunError: It is not paused, or the name or the reason is missing.
    """
    if not (home / PAUSED).exists():
        raise RunError("this site is not paused")
    _refuse_nobody(by, reason)
    audit.record(home, clock, "resumed", by=by, reason=reason)
    (home / PAUSED).unlink()
    durable.sync_folder((home / PAUSED).parent)


def paused(home: Path) -> Pause | None:
    """Return the pause that holds; ``None``: there is none.

    Raises:
        DamagedStateError: Its file cannot be read.
    """
    path = home / PAUSED
    if not path.exists():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Pause(by=str(table["by"]), reason=str(table["reason"]), since=str(table["since"]))
    except (ValueError, KeyError, TypeError):
        line = f"{PAUSED} is damaged: the site stays paused; fedrad-site resume takes it away"
        raise DamagedStateError(line) from None


def works_now(home: Path, now: datetime) -> bool:
    """Whether the site is open at a local time and nobody paused it.

    Raises:
        SettingsError: ``site.toml`` cannot be used.
    """
    hours = parse_hours(read_site(home).site.hours)
    return not (home / PAUSED).exists() and is_open(hours, now)


def _refuse_nobody(by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise RunError("a person pauses and resumes, for a reason: --by and --reason say both")
