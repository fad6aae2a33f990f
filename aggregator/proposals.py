"""Accept or decline what was proposed about a site: a line of the record, then of the run.

A proposal is a row of ``actions`` whose decision is ``proposed``. Deciding changes that row once.
One that is accepted does something itself only if ``EFFECTS`` says so: ``set-aside`` leaves the
site aside from the next round on. Every other is a person's work, and its row says which.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aggregator import quarantine
from aggregator.decisions import Decider, Place
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.tables import Action
from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.errors import RunError

OPEN = "proposed"
Answer = Literal["accepted", "declined"]
SET_ASIDE = "set-aside"
EFFECTS = {  # an accepted action -> what comes of it, as its row says
    SET_ASIDE: "not asked from the next round on, until it is lifted",
    "ask-about-scanner": "noted; fedrad changes nothing: ask the hospital",
    "ask-about-patients": "noted; fedrad changes nothing: ask the hospital",
    "query-annotations": "noted; fedrad changes nothing: ask for the second reading",
    "look-together": "noted; fedrad changes nothing: ask the hospital",
    "move-threshold": "noted; fedrad changes nothing: the hospital sets its operating point",
    "recalibrate": "noted for the hospital to apply; later windows say what it would do",
    "reweight": "noted; fedrad changes no weights by itself",
    "personalise": "noted; fedrad trains no layer for one hospital yet",
    "none": "noted",
}
"""What accepting does; an action that is not here is noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Which row of ``actions`` is meant."""

    round: int
    window: str
    site: str
    action: str


def decide(
    place: Place, proposal: Proposal, answer: Answer, *, decider: Decider, clock: Clock
) -> None:
    """Write down what a person decided about a proposal.

    Raises:
        RunError: There is no such proposal, it was decided before, or it names no site to set
            aside.
    """
    with _one_at_a_time(place.folder), Store(place.folder / DATABASE, clock) as store:
        row = _waiting(store, proposal)
        about: dict[str, Any] = {
            "site": proposal.site,
            "window": proposal.window,
            "action": proposal.action,
            "proposed_in": proposal.round,
        }
        audit_log.record(
            place.audit, clock, f"proposal {answer}", run=place.folder.name, by=decider.by,
            reason=decider.reason, **about,
        )  # fmt: skip
        effect = EFFECTS.get(proposal.action, "noted") if answer == "accepted" else "nothing"
        if answer == "accepted" and proposal.action == SET_ASIDE:  # again after a crash: once
            quarantine.set_aside(store, proposal.site, by=decider.by, reason=decider.reason)
        said = {"decision": answer, "decided_by": decider.by, "effect": effect}
        decided = Action(**row | said)
        detail = about | {"by": decider.by, "reason": decider.reason}
        store.record_event(
            f"proposal-{answer}", proposal.round, site=proposal.site, detail=detail, also=[decided]
        )


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let two people who decide at once come one after the other."""
    with (folder / "decisions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _waiting(store: Store, proposal: Proposal) -> dict[str, Any]:
    found = store.rows(
        "actions",
        round=proposal.round,
        window=proposal.window,
        site=proposal.site,
        action=proposal.action,
    )
    if not found:
        raise RunError(f"nobody proposed {proposal.action!r} for {proposal.site!r} there")
    if found[0]["decision"] != OPEN:
        by = found[0]["decided_by"] or "somebody"
        raise RunError(f"{by} decided before: {found[0]['decision']}")
    return found[0]
