"""What a person does from the hospital's page: pause, resume, withdraw; each with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedrad.clock import Clock
from fedrad.errors import RunError
from site_client import leaving, pausing

LONGEST_REASON = 500
SAID = {
    "paused": "Paused. Nothing is taken; what is worked on waits between two steps.",
    "resumed": "The site works again, within its hours.",
    "withdrew": "Withdrawn. Nothing of this study is answered any more; approve brings it back.",
}


def act(home: Path, what: str, fields: Mapping[str, str], *, by: str, clock: Clock) -> str:
    """Do what a form asks; return which word of ``SAID`` to tell.

    Raises:
        FedradError: It cannot be done; the sentence says why.
    """
    reason = fields.get("reason", "").strip()
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RunError(f"a reason is one line of up to {LONGEST_REASON} characters")
    if what == "pause":
        pausing.pause(home, by=by, reason=reason, clock=clock)
        return "paused"
    if what == "resume":
        pausing.resume(home, by=by, reason=reason, clock=clock)
        return "resumed"
    leaving.withdraw(home, fields.get("study", ""), by=by, reason=reason, clock=clock)
    return "withdrew"
