"""May a model be used: the gate's three answers, a person's name, and what stays recorded.

The gate reads paired comparisons that sites released (``fedrad.shift.gate``). Where it cannot
tell, or no comparison was released, only a named person can promote, and the record says so.
A model that is shown to harm is not promoted by anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator import checkpoints
from aggregator.decisions import Decider, Place
from aggregator.lineage import CHANGING, read_lineage
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.tables import Release
from aggregator.windows import PROMOTE, Promoted, compared, promoted
from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.durable import canonical_json
from fedrad.errors import RunError
from fedrad.parameters import digest
from fedrad.shift.gate import Change, Verdict, judge
from fedrad.shift.pairs import together

COLUMN = {"promote": PROMOTE, "harm shown": "harm", "cannot tell": "cannot-tell"}
IN_USE = "in use already"  # nothing is asked and nothing recorded


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said of a round's model, and what was decided."""

    round: int
    model_digest: str
    said: str  # promote, harm shown, cannot tell; or IN_USE
    reasons: tuple[str, ...]
    in_use: bool  # whether it is or was promoted

    def as_table(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {
            "round": self.round,
            "model_digest": self.model_digest,
            "answer": self.said,
            "reasons": list(self.reasons),
            "promoted": self.in_use,
        }


def promote(place: Place, number: int, decider: Decider, clock: Clock, *, insists: bool) -> Answer:
    """Ask the gate about a round's model and record what follows.

    Args:
        place: The run, and the record that says what was decided about it.
        number: The round that made the model.
        decider: Who asks, and why.
        clock: Where the time comes from.
        insists: Whether the person promotes it although the gate cannot tell.

    Raises:
        RunError: The round made no model.
        DamagedStateError: Its model cannot be read.
    """
    with Store(place.folder / DATABASE, clock) as store:
        if read_lineage(store).states.get(number) not in CHANGING:
            raise RunError(f"round {number} made no model that could be promoted")
        model = digest(checkpoints.read_released(place.folder, number))
        if promoted(store) == Promoted(number, model):
            return Answer(number, model, IN_USE, (), in_use=True)
        said, reasons = ask(store, place.folder, number)
        used = said == "promote" or (said == "cannot tell" and insists)
        if used and said != "promote":
            reasons = (*reasons, f"{decider.by} decided: {decider.reason}")
        found = Answer(number, model, said, reasons, used)
        _record(place, store, found, decider, clock)
    return found


def ask(store: Store, folder: Path, number: int) -> tuple[str, tuple[str, ...]]:
    """Return what the gate says of a round's model against the one in use, and why."""
    used = promoted(store)
    if used is None or used.round == number:
        return "cannot tell", ("no other model is in use to compare it with",)
    before, after = (checkpoints.read_released(folder, n) for n in (used.round, number))
    sites = compared(store, number, digest(together(before, after)))
    if not sites:
        why = "no site has compared it with the model in use; fedrad-aggregator compare asks them"
        return "cannot tell", (why,)
    agreed = {str(row["site"]): float(row["patients_agreed"]) for row in store.rows("sites")}
    verdict = judge(sites, most=agreed)
    return verdict.decision, tuple(_reasons(verdict))


def _reasons(verdict: Verdict) -> Iterator[str]:
    for change in verdict.pooled:
        yield f"all sites together: {_said(change)}"
    for site in verdict.harmed:
        changes = "; ".join(_said(change) for change in verdict.sites[site])
        yield f"harm is shown at {site}: {changes}"
    for site in verdict.not_estimable:
        yield f"{site}: too few patients to say anything"


def _said(change: Change) -> str:
    points = f"{100 * change.value:+.1f} points of {change.rate}"
    return f"{points}, at least {100 * change.lowest:+.1f} (one-sided 95 %)"


def _record(place: Place, store: Store, found: Answer, decider: Decider, clock: Clock) -> None:
    """Write the coordinator's record first, then the run's history.

    A row that promoted a model stays, whatever the gate says when it is asked again later.
    """
    kind = "promoted" if found.in_use else "not-promoted"
    detail = found.as_table() | {"by": decider.by, "reason": decider.reason}
    audit_log.record(place.audit, clock, kind, run=place.folder.name, **detail)
    row = Release(
        round=found.round,
        model_digest=found.model_digest,
        decision=PROMOTE if found.in_use else COLUMN[found.said],
        by=decider.by,
        reasons_json=canonical_json([f"the gate: {found.said}", *found.reasons]).decode("utf-8"),
        signature="",
    )
    stays = not found.in_use and store.rows(
        "releases", round=found.round, model_digest=found.model_digest, decision=PROMOTE
    )
    store.record_event(kind, found.round, detail=detail, also=() if stays else (row,))
