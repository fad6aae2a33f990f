"""Seal a study's cohort: ``fedrad-site freeze``.

Every split is prepared, so that its frozen form lies in the cache, and written down with the
digests of catalogue, labels and split key. From then on rounds of this task read the sealed
cohort. A task is its hash: a revised task may be sealed anew, the same one may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fedrad.clock import Clock, stamp
from fedrad.errors import DataError, DeclinedError
from fedrad.progress import Say, silent
from fedrad.task import Task, read_task, task_hash
from site_client import audit
from site_client import home as site_home
from site_client.catalogue import FILE, update_catalogue, write_quarantine
from site_client.cohort import Cohort, assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.frozen import Place
from site_client.gate import admit
from site_client.identities import count_unusable, refuse_many_unusable
from site_client.patients import SPLITS, Split, assignment
from site_client.preparation import PatientFiles
from site_client.rosters import InUse, Roster, names_of, relative
from site_client.seal import (
    Digests,
    Seal,
    SealedFile,
    digest_of,
    digest_of_files,
    read_seal,
    write_seal,
)
from site_client.settings import SiteSettings, read_site
from site_client.withdrawal import apply_lists

_CATALOGUED = ["file", "bytes", "instance", "patient", "study", "series", "reason"]


@dataclass(frozen=True, slots=True)
class _Found:
    """One split as the archive gives it now, every array made."""

    cohort: Cohort
    files: dict[str, PatientFiles]


def freeze(home: Path, task_path: Path, clock: Clock, *, say: Say = silent) -> tuple[Seal, bool]:
    """Seal the cohort of a task, or find it sealed.

    Args:
        home: The site's folder.
        task_path: The study's ``task.toml``.
        clock: Where the time comes from.
        say: Told how far long work is.

    Returns:
        The seal, and whether it was there before.

    Raises:
        DeclinedError: Another cohort is already sealed for this task.
        DataError, LabelError: The archive has nothing for the task.
        NotReadyError: The task is private and too many studies belong to nobody.
        SettingsError: The task or ``site.toml`` cannot be used.
    """
    settings, task = read_site(home), read_task(task_path)
    apply_lists(home, settings, clock)
    table = update_catalogue(home, say=say)
    if task.privacy.enabled:
        refuse_many_unusable(count_unusable(table, settings.patients.max_studies))
    found = _prepared(home, settings, task, table, say=say)
    seal = _sealed(home, settings, task, table, found, time=stamp(clock))
    before = read_seal(home, task_hash(task))
    if before is not None:
        _refuse_other(before, seal)
        return before, True
    for split, one in found.items():
        patients = seal.patients(split)
        roster = Roster(seal.task_hash, split, {name: seal.names[name] for name in patients})
        arrays = {p: relative(home, f.images + f.masks) for p, f in one.files.items()}
        InUse(roster, arrays).keep(home)
    write_seal(home, seal)
    audit.record(home, clock, "frozen", task_hash=seal.task_hash, **asdict(seal.digests))
    return seal, False


def as_table(seal: Seal, *, before: bool) -> dict[str, Any]:
    """Return a seal as one JSON object: counts and digests, no patient."""
    return {
        "task": seal.task,
        "task_hash": seal.task_hash,
        "time": seal.time,
        "sealed_before": before,
        "patients": {split: len(seal.patients(split)) for split in SPLITS},
        "images": len({(found.patient, found.unit) for found in seal.files}),
        "files": len(seal.files),
        "digests": asdict(seal.digests),
    }


def as_text(seal: Seal, *, before: bool) -> str:
    """Return what ``fedrad-site freeze`` prints."""
    counts = ", ".join(f"{len(seal.patients(split))} {split}" for split in SPLITS)
    said = "was sealed before, unchanged" if before else "is sealed"
    return (
        f"the cohort of {seal.task} {said}: {counts} patients\n"
        f"cohort {seal.digests.cohort}\n"
        "exams that come later enter monitoring windows only"
    )


def _prepared(
    home: Path, settings: SiteSettings, task: Task, table: pd.DataFrame, *, say: Say
) -> dict[Split, _Found]:
    names = pseudonyms(site_home.split_key(home))
    admitted = admit(table, task)
    preparation = Place(home, settings, task, table).preparation()
    found: dict[Split, _Found] = {}
    for split in SPLITS:
        cohort = assemble(admitted, task, split=split, settings=settings, names=names)
        found[split] = _Found(cohort, preparation.patients(cohort, say=say))
        write_quarantine(home, task.task.name, cohort.refused)
    preparation.finish(f"{task.task.name} freeze")
    if not any(one.files for one in found.values()):
        raise DataError(f"nothing of the archive can be used for {task.task.name!r}")
    return found


def _sealed(  # noqa: PLR0913  # a seal is put on all of these
    home: Path,
    settings: SiteSettings,
    task: Task,
    table: pd.DataFrame,
    found: dict[Split, _Found],
    *,
    time: str,
) -> Seal:
    rows = pd.read_parquet(home / FILE, columns=["file", "digest", "bytes", "mtime_ns"])
    kept: dict[str, Any] = {str(row.file): row for row in rows.itertuples(index=False)}
    files = tuple(file for split, one in found.items() for file in _files(home, split, one, kept))
    labels = {p: label for one in found.values() for p, label in one.cohort.labels.items()}
    everybody = {patient for one in found.values() for patient in one.files}
    digests = Digests(
        cohort=digest_of_files(files),
        catalogue=digest_of(table[_CATALOGUED].astype(str).to_numpy().tolist()),
        labels=digest_of({patient: labels[patient] for patient in sorted(labels)}),
        split_key=assignment(settings.patients, settings.splits, site_home.split_key(home)),
    )
    names = names_of(table, everybody)
    return Seal(task_hash(task), task.task.name, time, digests, names, files)


def _files(home: Path, split: Split, found: _Found, kept: dict[str, Any]) -> Iterator[SealedFile]:
    for patient, files in found.files.items():
        units = {unit.name: unit for unit in found.cohort.units[patient]}
        images, masks = relative(home, files.images), relative(home, files.masks)
        for place, name in enumerate(files.units):
            unit = units[name]
            for file in (*unit.files, *unit.truths):
                yield SealedFile(
                    split=split,
                    patient=patient,
                    label=found.cohort.labels.get(patient, -1),
                    unit=name,
                    place=place,
                    truth=file in unit.truths,
                    file=file,
                    digest=kept[file].digest,
                    bytes=kept[file].bytes,
                    mtime_ns=kept[file].mtime_ns,
                    image=images[place],
                    mask=masks[place] if masks else "",
                )


def _refuse_other(before: Seal, now: Seal) -> None:
    if before.digests.cohort != now.digests.cohort:
        what = [
            name
            for name, digest in asdict(now.digests).items()
            if digest != asdict(before.digests)[name]
        ]
        raise DeclinedError(
            f"the cohort of {before.task!r} was sealed at {before.time} and would be another now "
            f"(other digests: {', '.join(what)}); rounds go on with the sealed one; for another "
            "cohort the study needs a revised task"
        )
