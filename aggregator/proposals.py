"""Accept or decline what was proposed about a site: a line of the record, then of the run.

A proposal is a row of ``actions`` whose decision is ``proposed``. Deciding changes that row once;
what an accepted action does is the business of whoever proposed it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aggregator.decisions import Decider, Place
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.tables import Action
from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.errors import RunError

OPEN = "proposed"
Answer = Literal["accepted", "declined"]


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
        RunError: There is no such proposal, or it was decided before.
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
        decided = Action(**row | {"decision": answer, "decided_by": decider.by})
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
