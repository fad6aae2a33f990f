"""Which models were released while a patient was in: ``fedrad-site touched``.

Read from the site's own records alone: ``audit.jsonl`` says what left in which round and from
which roster, the roster says who was in it. That somebody was in a roster means that each step
could have drawn them, not that one did. Every later model of the same study is trained from
those in the list and carries what they learned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from site_client import audit
from site_client import home as site_home
from site_client.patient_lists import fits
from site_client.patients import read_register
from site_client.rosters import Roster, known_by, read_roster
from site_client.settings import read_site
from site_client.withdrawal import catalogued_patients


@dataclass(frozen=True, slots=True)
class Release:
    """One answer that left the site while the patient was in its roster."""

    time: str
    study: str
    round: int
    phase: str  # train: the model's update; evaluate: figures
    model_digest: str  # the model that the round began with
    next_model: str  # the next one that this site saw; empty: none yet
    update_digest: str  # of what left; empty for figures


@dataclass(frozen=True, slots=True)
class Touched:
    """What the site knows of one person's part in its studies."""

    patients: tuple[str, ...]  # pseudonyms that the number stands for; empty: nobody known
    releases: tuple[Release, ...]
    removed: dict[str, str]  # pseudonym -> when they were last let go
    records: tuple[str, ...]  # times of feasibility records, which keep no roster
    without_roster: int  # answers of which no roster was kept: nobody can say


def find_touched(home: Path, patient: str) -> Touched:
    """Look up which answers a patient was in.

    Args:
        home: The site's folder.
        patient: PatientID, or the patient's name in the mapping file.

    Raises:
        DamagedStateError: A roster that an answer names is missing or was changed.
        SettingsError: ``site.toml`` cannot be used.
    """
    register = read_register(read_site(home).patients, site_home.split_key(home))
    lines = audit.read(home)
    left = [line for line in lines if line["kind"] == "answered" and line["phase"] != "query"]
    found = {str(line["roster"]) for line in left if line.get("roster")}
    kept = {digest: read_roster(home, digest) for digest in sorted(found)}
    who = fits(patient, known_by(kept.values()), register) | fits(
        patient, catalogued_patients(home), register
    )
    return Touched(
        patients=tuple(sorted(who)),
        releases=tuple(_releases(lines, left, kept, who)),
        removed={
            str(line["patient"]): str(line["time"])
            for line in lines
            if line["kind"] == "patient-removed" and line["patient"] in who
        },
        records=tuple(str(line["time"]) for line in lines if line["kind"] == "shared"),
        without_roster=sum(1 for line in left if not line.get("roster")),
    )


def as_table(found: Touched) -> dict[str, Any]:
    """Return the answer as one JSON object."""
    return dataclasses.asdict(found)


def as_text(found: Touched) -> str:
    """Return what ``fedrad-site touched`` prints; pseudonyms only."""
    return "\n".join(_lines(found))


def _releases(
    lines: Sequence[dict[str, Any]],
    left: Sequence[dict[str, Any]],
    kept: dict[str, Roster],
    who: frozenset[str],
) -> Iterator[Release]:
    for line in left:
        roster = kept.get(str(line.get("roster")))
        if roster is not None and who & roster.patients.keys():
            yield Release(
                time=str(line["time"]),
                study=str(line["study"]),
                round=int(line["round"]),
                phase=str(line["phase"]),
                model_digest=str(line["model_digest"]),
                next_model=_next_model(lines, line) if line["phase"] == "train" else "",
                update_digest=str(line["update_digest"]),
            )


def _next_model(lines: Sequence[dict[str, Any]], line: dict[str, Any]) -> str:
    """Return the model that the site was sent next in the same study."""
    after = lines[lines.index(line) + 1 :]
    models = (
        str(later.get("model_digest", ""))
        for later in after
        if later.get("study") == line["study"] and later.get("phase") != "query"
    )
    return next((model for model in models if model not in ("", line["model_digest"])), "")


def _lines(found: Touched) -> Iterator[str]:
    if not found.patients:
        yield "nobody of that number is in the archive or in any roster"
    for patient in found.patients:
        removed = found.removed.get(patient)
        yield f"patient {patient}" + (f", let go at {removed}" if removed else "")
    if found.patients and not found.releases:
        yield "no answer to a round was released while this patient was in"
    for release in found.releases:
        yield _line(release)
    if any(release.phase == "train" for release in found.releases):
        yield (
            "Every later model of these studies is trained from those above. Privacy that was "
            "spent on them stays spent."
        )
    if found.patients and found.records:
        yield (
            f"Feasibility records were made at {', '.join(found.records)}: noised counts of "
            "everybody who had an image for the task; who that was is not kept"
        )
    if found.without_roster:
        yield f"{found.without_roster} older answers have no roster: nobody can say who was in"


def _line(release: Release) -> str:
    said = f"{release.time}  {release.study} round {release.round}: "
    if release.phase != "train":
        return f"{said}figures of model {release.model_digest}"
    became = release.next_model or "not seen here yet"
    return f"{said}update of model {release.model_digest}, next model {became}"
