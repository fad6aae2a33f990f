"""Sites whose replies could not be used again and again: not asked until a person lifts it.

The rule is public: after ``federation.bad_replies`` bad replies a site is left alone. Bad is a
reply that the checks refuse and an update or sums that are set aside, one for each phase of a
round. It is counted from the run's history, so that a restart forgets nothing; what a site
cannot help (another wire protocol, a stranger's message) does not count. What is bad at
all is decided by ``intake``, ``strategy`` and ``scoring``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aggregator.store import Store
from aggregator.tables import Action, Site
from fedrad.errors import RunError

REFUSED, SET_ASIDE, SUMS_SET_ASIDE = "reply-refused", "update-set-aside", "sums-set-aside"
QUARANTINED, LIFTED = "quarantined", "lifted"  # events; the first is a site's status too
JOINED = "joined"
BLAMELESS = "blameless"  # in an event's detail: not held against the site
_BAD = (REFUSED, SET_ASIDE, SUMS_SET_ASIDE)
_PHASE = {SET_ASIDE: "train", SUMS_SET_ASIDE: "evaluate"}


@dataclass(slots=True)
class Conduct:
    """What a site did since it was last lifted."""

    bad: list[tuple[int, str]] = field(default_factory=list)  # round and phase, each once
    quarantined: int | None = None  # the round in which it was


def conduct(events: Iterable[Mapping[str, Any]]) -> dict[str, Conduct]:
    """Return what each site did, from the rows of ``events`` in order."""
    found: dict[str, Conduct] = {}
    for row in events:
        own = found.setdefault(str(row["site"]), Conduct())
        if row["kind"] == LIFTED:
            found[str(row["site"])] = Conduct()
        elif row["kind"] == QUARANTINED:
            own.quarantined = int(row["round"])
        elif row["kind"] in _BAD:
            _count(own, row)
    return found


def enforce(store: Store, limit: int) -> frozenset[str]:
    """Quarantine every site that reached ``limit``; return all that are in quarantine.

    Called again it changes nothing; a lift by another process counts from the next call on.
    """
    found = conduct(_rows(store))
    for site, own in sorted(found.items()):
        if own.quarantined is None and len(own.bad) >= limit:
            own.quarantined = max(number for number, _ in own.bad)
            detail = {"bad": [list(one) for one in own.bad], "limit": limit}
            row = _row(store, site, QUARANTINED)
            store.record_site(row, QUARANTINED, own.quarantined, detail=detail)
    return frozenset(site for site, own in found.items() if own.quarantined is not None)


def set_aside(store: Store, site: str, *, by: str, reason: str) -> int:
    """Leave a site aside by a person's word, from the next round on; return the last round so far.

    It is lifted as any other. One that is in quarantine already stays as it is.

    Raises:
        RunError: The run has no such site.
    """
    last = max((int(row["round"]) for row in store.rows("rounds")), default=0)
    if not store.rows("sites", site=site):
        known = ", ".join(sorted(str(row["site"]) for row in store.rows("sites")))
        raise RunError(f"this run has no site {site!r}; it has: {known or 'none yet'}")
    if conduct(_rows(store)).get(site, Conduct()).quarantined is None:
        detail = {"bad": [], "by": by, "reason": reason}
        store.record_site(_row(store, site, QUARANTINED), QUARANTINED, last, detail=detail)
    return last


def lift(store: Store, site: str, *, by: str, reason: str) -> int:
    """Let a site take part again from the next round on; return the last round so far.

    Its bad replies count no more.

    Args:
        store: The run's.
        site: Its name.
        by: The person who decides.
        reason: Why, for whoever reads the history.

    Raises:
        RunError: The site is not in quarantine.
    """
    found = refuse_lift(store, site)
    last = max((int(row["round"]) for row in store.rows("rounds")), default=0)
    detail = {"by": by, "reason": reason, "bad": len(found.bad)}
    action = Action(
        round=last,
        site=site,
        action="lift",
        parameters_json="{}",
        reason=reason,
        decided_by=by,
        decision="done",
        effect=f"asked again from the round after {last} on",
    )
    store.record_site(_row(store, site, JOINED), LIFTED, last, detail=detail, also=[action])
    return last


def refuse_lift(store: Store, site: str) -> Conduct:
    """Return what a site in quarantine did.

    Raises:
        RunError: It is not in quarantine.
    """
    every = conduct(_rows(store))
    found = every.get(site, Conduct())
    if found.quarantined is None:
        inside = sorted(name for name, own in every.items() if own.quarantined is not None)
        raise RunError(
            f"site {site!r} is not in quarantine; in quarantine are: {', '.join(inside) or 'none'}"
        )
    return found


def _count(own: Conduct, row: Mapping[str, Any]) -> None:
    detail = json.loads(row["detail_json"])
    if detail.get(BLAMELESS):
        return
    one = (int(row["round"]), _PHASE.get(str(row["kind"]), str(detail.get("phase", ""))))
    if one not in own.bad:  # a round that is folded again says the same again
        own.bad.append(one)


def _rows(store: Store) -> list[dict[str, Any]]:
    kinds = (*_BAD, QUARANTINED, LIFTED)
    found = [row for kind in kinds for row in store.rows("events", kind=kind)]
    return sorted(found, key=lambda row: int(row["seq"]))


def _row(store: Store, site: str, status: str) -> Site:
    (known,) = store.rows("sites", site=site)
    return Site(**known | {"status": status})
