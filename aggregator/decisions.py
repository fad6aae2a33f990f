"""What a person decides about a run: a site set aside or let in again, the model set back.

Each decision has a name and a reason. It is a line of the coordinator's record before it has
an effect, then a line of the run's history; nothing is deleted. What it means for the
rounds is ``quarantine``'s and ``course``'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator import checkpoints, quarantine
from aggregator.begin import alone_in
from aggregator.correspondence import NAME as MESSAGES
from aggregator.home import AUDIT
from aggregator.lineage import CHANGING, OPEN, ROLLED_BACK, Lineage, read_lineage
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder, study_names
from aggregator.tables import Action, Release
from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.durable import canonical_json
from fedrad.errors import RunError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Who decides and why."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        """Refuse a decision of nobody, or for no reason.

        Raises:
            RunError: A name or a reason is missing.
        """
        if not self.by.strip() or not self.reason.strip():
            raise RunError("a person decides, for a reason: --by and --reason must say both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A run, and the record that says what was decided about it."""

    folder: Path
    audit: Path


def place_of(home: Path | None, study: str, run: Path | None) -> Place:
    """Return the run that a person means.

    Args:
        home: A coordinator's home, whose study it is.
        study: Its name; empty: the only one.
        run: Or a run's folder, such as a simulation's.

    Raises:
        SettingsError: Both or neither are given, or there is no such run.
    """
    if (home is None) == (run is None):
        line = "name either a coordinator's home or, of a simulation, the run's folder"
        raise SettingsError("--home and --run", (line,))
    if home is not None:
        names = study_names(home)
        if not study and len(names) != 1:
            raise SettingsError("--study", (f"name one; there are: {', '.join(names) or 'none'}",))
        place = Place(folder=run_folder(home, study or names[0]), audit=home / AUDIT)
    elif run is not None:
        place = Place(folder=run, audit=run / MESSAGES)
    if not (place.folder / DATABASE).is_file():
        raise SettingsError(str(place.folder), (f"no {DATABASE} in it: no round was asked yet",))
    return place


def roll_back(place: Place, number: int, decider: Decider, clock: Clock) -> str:
    """Set a run that stands still back to the model of a round; return that model's digest.

    A round that was open becomes void. What was done stays in the history, what it cost stays
    spent, and the rounds that follow have new numbers.

    Raises:
        RunError: The run goes on, the round made no model, or the run stands there already.
        DamagedStateError: The round's checkpoint cannot be read.
    """
    with alone_in(place.folder), Store(place.folder / DATABASE, clock) as store:
        line = read_lineage(store)
        if number and line.states.get(number) not in CHANGING:
            made = ", ".join(str(n) for n, state in line.states.items() if state in CHANGING)
            raise RunError(f"round {number} made no model; these did: 0, {made or 'no other'}")
        if number == line.stands:
            raise RunError(f"the run stands on the model of round {number} already")
        state, _, _ = checkpoints.read_round(place.folder, number)
        _record(place, decider, clock, "rolled back", {"from_round": line.stands, "round": number})
        for open_round in (n for n, at in line.states.items() if at in OPEN):
            store.record_round(open_round, "void")
            checkpoints.set_aside(place.folder, open_round)
        _write_rollback(store, line, number, decider, digest=state.model_digest)
        return state.model_digest


def lift(place: Place, site: str, decider: Decider, clock: Clock) -> int:
    """Let a site out of quarantine, of a run that goes on or stands; return its last round.

    Raises:
        RunError: The site is not in quarantine.
    """
    with Store(place.folder / DATABASE, clock) as store:
        quarantine.refuse_lift(store, site)
        _record(place, decider, clock, "lifted", {"site": site})
        return quarantine.lift(store, site, by=decider.by, reason=decider.reason)


def set_aside(place: Place, site: str, decider: Decider, clock: Clock) -> int:
    """Leave a site's updates aside until it is lifted; return the run's last round.

    Raises:
        RunError: The run has no such site, or it is in quarantine already.
    """
    with Store(place.folder / DATABASE, clock) as store:
        if store.rows("sites", site=site, status=quarantine.QUARANTINED):
            raise RunError(f"site {site!r} is in quarantine already")
        _record(place, decider, clock, "set aside", {"site": site})
        return quarantine.set_aside(store, site, by=decider.by, reason=decider.reason)


def _record(
    place: Place, decider: Decider, clock: Clock, kind: str, detail: dict[str, Any]
) -> None:
    """Write the decision into the coordinator's record, before it has an effect."""
    by, reason = decider.by, decider.reason
    audit_log.record(
        place.audit, clock, kind, run=place.folder.name, by=by, reason=reason, **detail
    )


def _write_rollback(
    store: Store, line: Lineage, number: int, decider: Decider, *, digest: str
) -> None:
    """Write event, action and release decision, all or none."""
    detail = {"back_to": number, "by": decider.by, "reason": decider.reason, "model_digest": digest}
    action = Action(
        round=max(line.states, default=0), site="*", action="rollback",
        parameters_json=canonical_json({"from_round": line.stands, "round": number}).decode(),
        reason=decider.reason, decided_by=decider.by, decision="done",
        effect=f"the model is that of round {number}",
    )  # fmt: skip
    release = Release(
        round=number, model_digest=digest, decision="promote", by=decider.by,
        reasons_json=canonical_json([decider.reason]).decode(), signature="",
    )  # fmt: skip
    store.record_event(ROLLED_BACK, line.stands, detail=detail, also=(action, release))
