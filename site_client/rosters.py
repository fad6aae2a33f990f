"""Who was in which split of which task, by pseudonym, and which cached arrays are theirs.

Two records in the site's home. ``state/rosters/DIGEST.json`` is never changed: the patients of
one split as a round read them, so that a hospital can say later which models somebody was in.
``state/in_use/`` says of each task and split which arrays of the cache it uses now; an array
that no record names can go. Who must leave is decided in ``withdrawal``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fedrad import durable
from fedrad.errors import DamagedStateError
from site_client.cache import FOLDER as CACHE

ROSTERS, IN_USE = Path("state", "rosters"), Path("state", "in_use")
KNOWN_BY = ("listed_as", "study", "accession")  # columns of the catalogue


@dataclass(frozen=True, slots=True)
class Roster:
    """The patients of one split as a round reads them."""

    task_hash: str
    split: str
    patients: dict[str, tuple[str, ...]]  # pseudonym -> pseudonyms of IDs, studies, accessions

    @property
    def digest(self) -> str:
        """SHA-256 of its content, 64 hexadecimal digits; its file's name."""
        return hashlib.sha256(self._content()).hexdigest()

    def keep(self, home: Path) -> None:
        """Write it durably unless it is there."""
        path = home / ROSTERS / f"{self.digest}.json"
        if not path.exists():
            durable.write_bytes(path, self._content())

    def _content(self) -> bytes:
        table = {"task_hash": self.task_hash, "split": self.split, "patients": self.patients}
        return durable.canonical_json(table)


@dataclass(frozen=True, slots=True)
class InUse:
    """Which arrays of the cache one split of one task uses."""

    roster: Roster
    arrays: dict[str, tuple[str, ...]] = field(default_factory=dict)  # patient -> relative paths

    def keep(self, home: Path) -> None:
        """Replace what is noted of this task and split."""
        self.roster.keep(home)
        table = {"roster": self.roster.digest, "arrays": self.arrays}
        durable.write_json(_place(home, self.roster.task_hash, self.roster.split), table)

    def without(self, patients: Iterable[str]) -> InUse:
        """Return the same with nobody of ``patients``; the roster itself is history."""
        gone = set(patients)
        return InUse(self.roster, {p: a for p, a in self.arrays.items() if p not in gone})


def names_of(table: pd.DataFrame, patients: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return what each patient is known by in a catalogue: pseudonyms, sorted.

    Args:
        table: Columns ``patient`` and ``KNOWN_BY``.
        patients: Whose.
    """
    wanted = sorted(patients)
    found: dict[str, set[str]] = defaultdict(set)
    rows = table.loc[table["patient"].isin(wanted), ["patient", *KNOWN_BY]].drop_duplicates()
    for patient, *names in rows.itertuples(index=False):
        found[patient].update(filter(None, names))
    return {patient: tuple(sorted(found[patient])) for patient in wanted}


def read_roster(home: Path, digest: str) -> Roster:
    """Read one roster.

    Raises:
        DamagedStateError: It is missing or differs from its name.
    """
    path = home / ROSTERS / f"{digest}.json"
    try:
        content = path.read_bytes()
        table = json.loads(content)
        patients = {name: tuple(known) for name, known in table["patients"].items()}
        found = Roster(str(table["task_hash"]), str(table["split"]), patients)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DamagedStateError(f"{path} is missing or unreadable; put it back") from None
    if found.digest != digest:
        raise DamagedStateError(f"{path} was changed; put the original back")
    return found


def iter_in_use(home: Path) -> Iterator[InUse]:
    """Yield what every task and split uses, by name of the record.

    Raises:
        DamagedStateError: A record cannot be read.
    """
    for path in sorted((home / IN_USE).glob("*.json")):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            arrays = {patient: tuple(names) for patient, names in table["arrays"].items()}
            digest = str(table["roster"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DamagedStateError(
                f"{path} is damaged; delete it together with the cache, both fill again"
            ) from None
        yield InUse(read_roster(home, digest), arrays)


def known_by(rosters: Iterable[Roster]) -> dict[str, frozenset[str]]:
    """Return which patients each name of the rosters belongs to."""
    found: dict[str, frozenset[str]] = defaultdict(frozenset)
    for roster in rosters:
        for name, patients in known_by_names(roster.patients).items():
            found[name] |= patients
    return found


def known_by_names(patients: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Return which patients each name belongs to, from what each patient is known by."""
    found: dict[str, set[str]] = defaultdict(set)
    for patient, names in patients.items():
        for name in names:
            found[name].add(patient)
    return {name: frozenset(owners) for name, owners in found.items()}


def relative(home: Path, arrays: Iterable[Path]) -> tuple[str, ...]:
    """Return arrays of the cache as their paths below it."""
    return tuple(path.relative_to(home / CACHE).as_posix() for path in arrays)


def delete_arrays(home: Path, arrays: Iterable[str]) -> int:
    """Delete arrays of the cache; return how many were there."""
    found = [path for path in (home / CACHE / name for name in arrays) if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def forget(home: Path, keep: frozenset[str]) -> None:
    """Delete the records of tasks whose hash is not in ``keep``; rosters stay."""
    for found in list(iter_in_use(home)):
        if found.roster.task_hash not in keep:
            _place(home, found.roster.task_hash, found.roster.split).unlink(missing_ok=True)


def unused_arrays(home: Path) -> tuple[str, ...]:
    """Return the arrays of the cache that no record names."""
    used: set[str] = set()
    for found in iter_in_use(home):
        used.update(*found.arrays.values())
    there = relative(home, sorted((home / CACHE).glob("*/*.npy")))
    return tuple(name for name in there if name not in used)


def _place(home: Path, task_hash: str, split: str) -> Path:
    return home / IN_USE / f"{task_hash}-{split}.json"
