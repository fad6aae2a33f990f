"""What an operator does from a page: decide about a proposal, set aside, lift.

Every form says why; the operator's name comes from the door and from no form. What is decided is
written by ``decisions`` and ``proposals``, as their commands write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aggregator import decisions, proposals
from aggregator.decisions import Decider, Place
from aggregator.proposals import Answer, Proposal
from fedrad.clock import Clock
from fedrad.errors import RunError

LONGEST_REASON = 500
SAID = {
    "accepted": "Accepted. It is in the record with your name and reason.",
    "declined": "Declined. It is in the record with your name and reason.",
    "aside": "Set aside: it is not asked from the next round on, until somebody lets it in again.",
    "lifted": "Out of quarantine: it is asked again from the next round on.",
}


def decide(place: Place, fields: Mapping[str, str], *, by: str, clock: Clock) -> str:
    """Accept or decline a proposal; return which word of ``SAID`` to tell.

    Raises:
        RunError: The form names no proposal that waits, or says no reason.
    """
    answer, number = fields.get("decision", ""), fields.get("round", "")
    if answer not in ("accepted", "declined") or not number.isdecimal():
        raise RunError("accept or decline; the form says neither")
    proposal = Proposal(
        round=int(number),
        window=fields.get("window", ""),
        site=fields.get("site", ""),
        action=fields.get("action", ""),
    )
    decider = _decider(fields, by)
    proposals.decide(place, proposal, cast("Answer", answer), decider=decider, clock=clock)
    return answer


def lift(place: Place, fields: Mapping[str, str], *, by: str, clock: Clock) -> str:
    """Let a hospital out of quarantine; return which word of ``SAID`` to tell.

    Raises:
        RunError: It is not in quarantine, or the form says no reason.
    """
    decisions.lift(place, fields.get("site", ""), _decider(fields, by), clock)
    return "lifted"


def set_aside(place: Place, fields: Mapping[str, str], *, by: str, clock: Clock) -> str:
    """Leave a hospital's updates aside; return which word of ``SAID`` to tell.

    Raises:
        RunError: It is in quarantine already, or the form says no reason.
    """
    decisions.set_aside(place, fields.get("site", ""), _decider(fields, by), clock)
    return "aside"


def _decider(fields: Mapping[str, str], by: str) -> Decider:
    reason = fields.get("reason", "").strip()
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RunError(f"a reason is one line of up to {LONGEST_REASON} characters")
    return Decider(by=by, reason=reason)
