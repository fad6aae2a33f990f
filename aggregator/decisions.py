"""What a person decides about a run: a site let in again, the model set back.

Each decision has a name and a reason. It is a line of the coordinator's record before it has
an effect, then a line of the run's history; nothing is deleted. What it means for the
rounds is ``quarantine``'s and ``course``'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aggregator import quarantine
from aggregator.correspondence import NAME as MESSAGES
from aggregator.home import AUDIT
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder, study_names
from fedrad import audit_log
from fedrad.clock import Clock
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


def lift(place: Place, site: str, decider: Decider, clock: Clock) -> int:
    """Let a site out of quarantine, of a run that goes on or stands; return its last round.

    Raises:
        RunError: The site is not in quarantine.
    """
    with Store(place.folder / DATABASE, clock) as store:
        quarantine.refuse_lift(store, site)
        audit_log.record(
            place.audit,
            clock,
            "lifted",
            run=place.folder.name,
            site=site,
            by=decider.by,
            reason=decider.reason,
        )
        return quarantine.lift(store, site, by=decider.by, reason=decider.reason)
