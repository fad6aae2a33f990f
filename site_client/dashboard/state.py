"""What this site is doing now and whether a person should look, in one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from fedrad.contract import Contract
from fedrad.hours import is_open, parse_hours
from fedrad.task import read_task, task_hash
from site_client.dashboard.records import Line
from site_client.dashboard.today import last_of
from site_client.node.health import is_started
from site_client.pausing import Pause, paused
from site_client.settings import SiteSettings
from site_client.study import TASK, accepted_contracts, study_folder

_SOON_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The site as a whole."""

    word: str  # working, paused, closed, not started
    sentence: str
    looks: tuple[str, ...]  # what a person should look at
    pause: Pause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study that was accepted here."""

    name: str
    contract: Contract
    approved: bool  # its task is on the list of site.toml
    days_left: int | None  # None: the contract has no end


def read_state(
    home: Path, settings: SiteSettings, lines: Sequence[Line], *, now: datetime
) -> State:
    """Return what the site does at a local time."""
    pause = paused(home)
    word, sentence = _word(home, settings, pause, now)
    looks = (*_looks(lines), *_ends(studies(home, settings, now)))
    return State(word=word, sentence=sentence, looks=looks, pause=pause)


def studies(home: Path, settings: SiteSettings, now: datetime) -> tuple[Study, ...]:
    """Return the studies that were accepted here, those in force first."""
    found = []
    for contract in accepted_contracts(home):
        task = study_folder(home, contract.study) / TASK
        approved = task.exists() and task_hash(read_task(task)) in settings.approval.studies
        left = _days_left(contract, now)
        study = Study(name=contract.study, contract=contract, approved=approved, days_left=left)
        found.append(study)
    return tuple(sorted(found, key=lambda one: (not one.approved, one.name)))


def _word(
    home: Path, settings: SiteSettings, pause: Pause | None, now: datetime
) -> tuple[str, str]:
    if pause is not None:
        said = f"{pause.by} paused it on {pause.since[:10]}: {pause.reason}"
        return "paused", f"This site answers nothing until somebody resumes: {said}."
    if not is_started(home):
        return "not started", "No program answers the coordinator: fedrad-site start does."
    if not is_open(parse_hours(settings.site.hours), now):
        return "closed", f"It is outside the hours: {settings.site.hours}."
    return "working", "The site answers what its coordinator asks."


def _looks(lines: Sequence[Line]) -> Iterator[str]:
    decided = last_of(lines, ("answered", "declined"))
    if decided is not None and decided["kind"] == "declined":
        why = decided.get("sentence") or decided.get("reason")
        yield f"The last question was not answered: {why}"
    warned = last_of(lines, ("warning",))
    if warned is not None:
        yield f"Warning of {str(warned['time'])[:10]}: {warned.get('sentence', '')}"


def _ends(found: Sequence[Study]) -> Iterator[str]:
    for study in found:
        if study.approved and study.days_left is not None:
            if study.days_left < 0:
                yield f"The contract of {study.name} has ended: nothing of it is answered."
            elif study.days_left <= _SOON_DAYS:
                yield f"The contract of {study.name} ends in {study.days_left} days."


def _days_left(contract: Contract, now: datetime) -> int | None:
    if contract.conditions is None:
        return None
    return (date.fromisoformat(contract.conditions.expires) - now.astimezone(UTC).date()).days
