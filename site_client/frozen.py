"""Load one split of a sealed study: frozen images, frozen labels, and nobody who came later.

An image whose array is still cached is used as it was, whatever became of its file. Else its
files are read again if they are the same to the bit; a file that changed or went is dropped
and named. Later exams count in the monitoring window only, and there only of patients whom
the keyed hash puts into it: who is in another split stays out of the window for good, because
a patient pays in one stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fedrad.durable import file_digest
from fedrad.errors import DeclinedError
from fedrad.task import Task
from site_client import home as site_home
from site_client.cache import FOLDER as CACHE
from site_client.catalogue import write_quarantine
from site_client.cohort import Cohort, Unit
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.patient_lists import known_patients, read_lists
from site_client.patients import Split, assignment, read_register
from site_client.preparation import PatientFiles, Preparation
from site_client.rosters import known_by_names
from site_client.seal import Seal, SealedFile
from site_client.settings import SiteSettings

CHANGED, GONE = "changed-since-freeze", "gone-since-freeze"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed split is loaded."""

    home: Path
    settings: SiteSettings
    task: Task
    catalogue: pd.DataFrame

    def preparation(self) -> Preparation:
        """Return what makes the task's arrays from the archive's files."""
        names = pseudonyms(site_home.split_key(self.home))
        archive = self.settings.archive.path
        return Preparation(
            self.home,
            archive,
            self.task,
            self.catalogue,
            names=names,
            limits=self.settings.reading,
            most_gib=self.settings.resources.disk_gib,
        )


@dataclass(frozen=True, slots=True)
class Frozen:
    """One split as it was sealed, without who left since."""

    files: dict[str, PatientFiles]
    labels: dict[str, int]
    warnings: tuple[str, ...]


def load_frozen(place: Place, seal: Seal, split: Split) -> Frozen:
    """Return what can still be used of a sealed split.

    Raises:
        DeclinedError: Patients are dealt otherwise than when the cohort was sealed.
        ArchiveError: A list of patients is missing.
    """
    _refuse_dealt_anew(place, seal)
    out = _left(place, seal)
    units = {p: found for p, found in seal.units(split).items() if p not in out}
    lost = dict(_lost(place, units))
    refused = pd.DataFrame(list(lost.items()), columns=["file", "reason"])
    scope = f"{place.task.task.name} {split}, frozen"
    write_quarantine(place.home, scope, refused)
    files = _files(place, units, lost, scope=f"{place.task.task.name} {split}")
    labels = {patient: label for patient, label in seal.labels(split).items() if patient in files}
    return Frozen(files, labels, tuple(_warnings(place, units, lost)))


def later(cohort: Cohort, seal: Seal, *, cap: int) -> Cohort:
    """Return what came into the monitoring window after the freeze: units that are not sealed.

    Args:
        cohort: The window as the archive is now.
        seal: Whose units stay as they were, in whichever split.
        cap: Images a patient may have, sealed ones included.
    """
    sealed = {found.unit for found in seal.files}
    before = {patient: len(units) for patient, units in seal.units("window").items()}
    units: dict[str, tuple[Unit, ...]] = {}
    for patient, found in cohort.units.items():
        room = max(0, cap - before.get(patient, 0))
        fresh = tuple(unit for unit in found if unit.name not in sealed)[:room]
        units |= {patient: fresh} if fresh else {}
    labels = {patient: cohort.labels[patient] for patient in units if cohort.labels}
    return Cohort(units, labels, cohort.refused, cohort.warnings)


def joined(frozen: Frozen, came: Frozen) -> Frozen:
    """Return a sealed split together with what came later; sealed labels outrank."""
    everybody = dict(frozen.files)
    for patient, more in came.files.items():
        known = everybody.get(patient, PatientFiles((), ()))
        everybody[patient] = PatientFiles(
            known.images + more.images, known.masks + more.masks, known.units + more.units
        )
    warnings = (*frozen.warnings, *came.warnings)
    return Frozen(dict(sorted(everybody.items())), came.labels | frozen.labels, warnings)


def _refuse_dealt_anew(place: Place, seal: Seal) -> None:
    settings = place.settings
    dealt = assignment(settings.patients, settings.splits, site_home.split_key(place.home))
    if dealt != seal.digests.split_key:
        raise DeclinedError(
            "the split key, [splits] or the mapping file is not that of the freeze, so a patient "
            "could be in another split; put them back"
        )


def _left(place: Place, seal: Seal) -> frozenset[str]:
    lists = place.settings.patients
    register = read_register(lists, site_home.split_key(place.home))
    known = dict(known_patients(place.catalogue))
    for name, patients in known_by_names(seal.names).items():
        known[name] = known.get(name, frozenset()) | patients
    return read_lists(lists, known, register).out(seal.names)


def _lost(place: Place, units: dict[str, list[list[SealedFile]]]) -> Iterator[tuple[str, str]]:
    """Yield the files whose frozen form is neither cached nor in the archive, with a reason."""
    archive = place.settings.archive.path
    digests = dict(zip(place.catalogue["file"], place.catalogue["digest"], strict=True))
    for found in (unit for mine in units.values() for unit in mine):
        if not _cached(place.home, found):
            for one in found:
                if one.file not in digests:
                    yield one.file, GONE
                elif (digests[one.file] or _digest_now(archive / one.file)) != one.digest:
                    yield one.file, CHANGED


def _digest_now(path: Path) -> str:
    """Return a file's digest; of one that cannot be read, nothing that any file has."""
    try:
        return file_digest(path)
    except OSError:
        return ""


def _cached(home: Path, unit: list[SealedFile]) -> bool:
    names = {name for one in unit for name in (one.image, one.mask) if name}
    return all((home / CACHE / name).exists() for name in names)


def _files(
    place: Place, units: dict[str, list[list[SealedFile]]], lost: dict[str, str], *, scope: str
) -> dict[str, PatientFiles]:
    """Return the arrays of each patient, made again where that gives the same."""
    anew = {
        patient: tuple(
            _unit(found)
            for found in mine
            if not _cached(place.home, found) and not any(one.file in lost for one in found)
        )
        for patient, mine in units.items()
    }
    cohort = Cohort({p: u for p, u in anew.items() if u}, {}, pd.DataFrame(), ())
    preparation = place.preparation()
    made = preparation.patients(cohort)
    preparation.finish(scope)
    found = {
        patient: _in_order(place.home, mine, made.get(patient, PatientFiles((), ())))
        for patient, mine in units.items()
    }
    return {patient: files for patient, files in found.items() if files.images}


def _in_order(home: Path, mine: list[list[SealedFile]], made: PatientFiles) -> PatientFiles:
    images = dict(zip(made.units, made.images, strict=True))
    masks = dict(zip(made.units, made.masks, strict=False))
    for unit in mine:
        if _cached(home, unit):
            first = unit[0]
            images[first.unit] = home / CACHE / first.image
            if first.mask:
                masks[first.unit] = home / CACHE / first.mask
    order = [unit[0].unit for unit in mine if unit[0].unit in images]
    return PatientFiles(
        tuple(images[name] for name in order),
        tuple(masks[name] for name in order if name in masks),
        tuple(order),
    )


def _unit(found: list[SealedFile]) -> Unit:
    return Unit(
        found[0].unit,
        tuple(sorted(one.file for one in found if not one.truth)),
        tuple(sorted(one.file for one in found if one.truth)),
    )


def _warnings(
    place: Place, units: dict[str, list[list[SealedFile]]], lost: dict[str, str]
) -> Iterator[str]:
    columns = ["file", "bytes", "mtime_ns"]
    there = {tuple(row) for row in place.catalogue[columns].itertuples(index=False)}
    files = [one for mine in units.values() for unit in mine for one in unit]
    other = [one for one in files if (one.file, one.bytes, one.mtime_ns) not in there]
    kept = [one for one in other if one.file not in lost]
    if kept:
        yield f"{len(kept)} files changed or went since the freeze; their frozen form is used"
    if lost:
        yield (
            f"{len(lost)} files changed or went since the freeze and their frozen form is not "
            "cached; they are not used, quarantine.csv names them"
        )
