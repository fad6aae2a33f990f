"""Let go of a patient who objected, and of arrays that nothing uses any more.

Called before every round. Who is on ``exclude.csv``, or no longer on ``include.csv``, has
their cached arrays deleted, and the removal is logged in ``audit.jsonl`` by pseudonym; the
catalogue keeps them out of every split from then on. Nobody else moves: splits are keyed
hashes of one patient. What was charged stays charged, and what was released stays released:
``touched`` lists it. Who comes back has the same split as before.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fedrad import durable
from fedrad.clock import Clock
from fedrad.errors import DamagedStateError, NotReadyError
from site_client import audit, rosters
from site_client import home as site_home
from site_client.catalogue import FILE as CATALOGUE
from site_client.patient_lists import Known, Lists, known_patients, read_lists
from site_client.patients import read_register
from site_client.seal import sealed_tasks
from site_client.settings import FILE, SiteSettings

WITHDRAWN = Path("state", "withdrawn.json")


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Who was in and left, and how long the list of objections was."""

    patients: tuple[str, ...] = ()
    objections: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """What one reading of the lists changed."""

    left: dict[str, int] = field(default_factory=dict)  # pseudonym -> deleted arrays
    returned: tuple[str, ...] = ()


def apply_lists(home: Path, settings: SiteSettings, clock: Clock) -> Changes:
    """Read both lists anew and let go of everybody who takes no part any more.

    A crash in between is made good by the next call.

    Raises:
        ArchiveError: A list is missing.
        NotReadyError: The list of objections lost all its entries.
        DamagedStateError: A record of the home cannot be read.
    """
    before = read_withdrawn(home)
    using = list(rosters.iter_in_use(home))
    lists = _lists(home, settings, using)
    _refuse_emptied(settings, lists, before)
    members = frozenset[str]().union(*(found.arrays for found in using))
    out = lists.out(members | set(before.patients))
    left = _let_go(home, clock, using, out & members)
    returned = tuple(sorted(set(before.patients) - out))
    for patient in returned:
        audit.record(home, clock, "patient-returned", patient=patient)
    now = Withdrawn(tuple(sorted(out)), lists.excluded.entries)
    if now != before:
        table = {"patients": now.patients, "objections": now.objections}
        durable.write_json(home / WITHDRAWN, table)
    return Changes(left, returned)


def evict(home: Path, tasks: Iterable[str]) -> int:
    """Delete cached arrays that nothing uses any more; return how many.

    Args:
        home: The site's folder.
        tasks: Hashes of the tasks that the site works for; those with a sealed cohort stay.
    """
    rosters.forget(home, sealed_tasks(home).union(tasks))
    return rosters.delete_arrays(home, rosters.unused_arrays(home))


def read_withdrawn(home: Path) -> Withdrawn:
    """Read who left.

    Raises:
        DamagedStateError: The file cannot be read.
    """
    path = home / WITHDRAWN
    if not path.exists():
        return Withdrawn()
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Withdrawn(tuple(map(str, table["patients"])), int(table["objections"]))
    except (ValueError, KeyError, TypeError):
        raise DamagedStateError(f"{WITHDRAWN} is damaged; restore it from a backup") from None


def catalogued_patients(home: Path) -> Known:
    """Return who is known by which PatientID in the catalogue as it was last written."""
    path = home / CATALOGUE
    if not path.exists():
        return {}
    return known_patients(pd.read_parquet(path, columns=["listed_as", "patient"]))


def stamp(home: Path, settings: SiteSettings) -> Iterator[tuple[int, int]]:
    """Yield what changes when a person changes who takes part, or where the images are."""
    lists = settings.patients
    for path in (home / FILE, settings.labels.file, lists.mapping, lists.include, lists.exclude):
        status = path.stat() if path is not None and path.exists() else None
        yield (status.st_mtime_ns, status.st_size) if status else (0, 0)
    yield int(settings.archive.path.is_dir()), 0


def _lists(home: Path, settings: SiteSettings, using: list[rosters.InUse]) -> Lists:
    register = read_register(settings.patients, site_home.split_key(home))
    known: dict[str, frozenset[str]] = defaultdict(frozenset)
    for one in (rosters.known_by(found.roster for found in using), catalogued_patients(home)):
        for name, patients in one.items():
            known[name] |= patients
    return read_lists(settings.patients, known, register)


def _refuse_emptied(settings: SiteSettings, lists: Lists, before: Withdrawn) -> None:
    """A list that was cut off while it was saved must not bring objectors back."""
    path = settings.patients.exclude
    if path and before.objections and not lists.excluded.entries:
        raise NotReadyError(
            f"{path} is empty but had {before.objections} objections; put them back, or take "
            "exclude out of site.toml if everybody may take part again"
        )


def _let_go(
    home: Path, clock: Clock, using: list[rosters.InUse], out: frozenset[str]
) -> dict[str, int]:
    deleted: dict[str, int] = {}
    for patient in sorted(out):
        arrays = {name for found in using for name in found.arrays.get(patient, ())}
        deleted[patient] = rosters.delete_arrays(home, sorted(arrays))
        audit.record(home, clock, "patient-removed", patient=patient, arrays=deleted[patient])
    for found in using:
        if out & found.arrays.keys():
            found.without(out).keep(home)
    return deleted
