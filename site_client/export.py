"""Write de-identified copies of a folder for people: ``fedrad-site deidentify``.

What a copy may hold is decided by ``deidentify``; here are files. A copy's folders and name are
keyed digests; a file that is there is never written again; a file that cannot be used is
reported and stops nothing. Two reports say what became of each file: ``report.csv`` beside
the copies names the sources by keyed digests, and the site's home keeps the list with their
paths, from which the next call goes on.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom.dataset import Dataset

from fedrad import durable
from fedrad.errors import SettingsError
from fedrad.progress import Say, counted, silent
from site_client import home as site_home
from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.archive.folder import ArchiveFile, list_archive
from site_client.archive.readers import Answer, Readers, Request
from site_client.archive.readers import Outcome as Told
from site_client.burned_text import refuse_without_reader, shows_text
from site_client.deidentify.apply import deidentified
from site_client.deidentify.pixels import put_pixels
from site_client.deidentify.profile import read_profile
from site_client.export_reading import IDENTIFIERS, READ
from site_client.export_record import Outcome, Record, open_record
from site_client.patient_lists import EXCLUDED, NOT_INCLUDED, read_lists
from site_client.patients import Patient, Register, read_register
from site_client.settings import SiteSettings, read_site

REPORT = "report.csv"
WRITTEN = "written"
# Looked at again at every call: lists, the mapping, limits and rights change.
_PASSING = (
    "patient-id-unusable", EXCLUDED, NOT_INCLUDED, "too-large", "too-slow", "too-deep",
    "changing", "not-readable",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of the files of a folder, all calls together."""

    written: int
    refused: dict[str, int]  # reason -> files
    fresh: int  # files looked at by this call
    record: Path  # in the site's home: paths and reasons, for the hospital's own eyes


def export(source: Path, target: Path, home: Path, *, say: Say = silent) -> Exported:
    """Write de-identified copies of every usable file below ``source``.

    Args:
        source: A folder of DICOM files; read only.
        target: Where the copies go: ``PATIENT/STUDY/SERIES/INSTANCE.dcm``; made if absent.
        home: The site's folder: its key names everything, its settings say who takes no part.
        say: Told how far the work is.

    Raises:
        SettingsError: ``target`` lies inside ``source`` or is the site's home.
        ArchiveError: ``source`` is missing.
        OSError: The disk refused; what was written stays and the next call goes on.
    """
    source, target = source.absolute(), target.absolute()  # reading processes stand elsewhere
    _refuse_places(source, target, home)
    settings = read_site(home)
    if settings.deidentify.look_for_text:
        refuse_without_reader()
    register = read_register(settings.patients, site_home.split_key(home))
    listing = list_archive(source)
    target.mkdir(parents=True, exist_ok=True)
    copier = _Copier(target, register, settings)
    with open_record(home, source, target, register.names) as record:
        _refuse_other_version(record, copier.version, target)
        fresh = [file for file in listing.files if not copier.done_before(file, record)]
        with Readers(settings.reading, preload=(READ.partition(":")[0],)) as readers:
            asked = (_request(source, file) for file in fresh)
            pairs = zip(fresh, readers.each(asked), strict=True)
            for file, told in counted(pairs, say, what="copying files", total=len(fresh)):
                copier.copy(file, told, record)
        outcomes = [record.known[file.file] for file in listing.files]
        outcomes += [Outcome(name, 0, 0, "", "", reason) for name, reason in listing.refused]
        _write_report(target, outcomes, register)
        return _summed(outcomes, len(fresh), record.path)


def _summed(outcomes: list[Outcome], fresh: int, record: Path) -> Exported:
    counts = Counter(outcome.reason for outcome in outcomes)
    written = counts.pop("", 0)
    return Exported(written, dict(sorted(counts.items())), fresh, record)


def as_table(found: Exported) -> dict[str, Any]:
    """Return the result for ``--json``."""
    return {"written": found.written, "refused": found.refused, "fresh": found.fresh}


def as_text(found: Exported) -> str:
    """Return the result as a sentence or two."""
    refused = ", ".join(f"{number} {reason}" for reason, number in found.refused.items())
    said = f"{found.written} files written, {sum(found.refused.values())} refused"
    return (
        f"{said}{f': {refused}' if refused else ''}\nwhich file, for this site only: {found.record}"
    )


class _Copier:
    """Copies files one after the other; what they hold was read by a worker process."""

    def __init__(self, target: Path, register: Register, settings: SiteSettings) -> None:
        self._target, self._register, self._lists = target, register, settings.patients
        self._wishes = settings.deidentify
        self.profile = read_profile()
        self.version = f"{self.profile.name}{'+text' * self._wishes.look_for_text}"
        self._out: dict[str, str] = {}  # patient -> why they take no part; empty if they do

    def done_before(self, file: ArchiveFile, record: Record) -> bool:
        """Whether the record still tells what became of a file."""
        before = record.known.get(file.file)
        if before is None or not before.fits(file, self.version):
            return False
        if before.reason in _PASSING:
            return False
        return bool(before.reason) or (self._target / before.place).exists()

    def copy(self, file: ArchiveFile, told: Told, record: Record) -> None:
        """Copy or refuse one file, and note it."""
        place, reason = "", ""
        try:
            if isinstance(told, UnusableFileError):
                raise told
            place = self._copied(file.file, told, record)
        except UnusableFileError as error:
            reason = error.reason
        record.note(Outcome(file.file, file.bytes, file.mtime_ns, self.version, place, reason))

    def _copied(self, file: str, told: Answer, record: Record) -> str:
        whose: dict[str, str] = told.result["whose"]
        with foreign_bytes("unreadable"):
            patient = self._patient(whose)
            instance = Dataset.from_json(told.result["elements"])
            clean = deidentified(
                instance, patient, names=self._register.names, profile=self.profile
            )
            put_pixels(clean, told.arrays[0])
            content = _file(clean)
        if self._wishes.look_for_text and shows_text(told.arrays[0]):
            raise UnusableFileError("burned-in-text")
        names = [self._register.names.of(name, whose[name]) for name in IDENTIFIERS]
        place = "/".join([patient, *names]) + ".dcm"
        _write_new(self._target / place, content, mine=record.places.get(place, file) == file)
        return place

    def _patient(self, whose: dict[str, str]) -> str:
        patient = self._register.patient(
            whose["PatientID"],
            whose["IssuerOfPatientID"],
            study=whose["StudyInstanceUID"],
            accession=whose["AccessionNumber"],
        )
        if not patient.pseudonym:
            raise UnusableFileError("patient-id-unusable")
        if self._why_not(patient):
            raise UnusableFileError(self._why_not(patient))
        return patient.pseudonym

    def _why_not(self, patient: Patient) -> str:
        if patient.pseudonym not in self._out:
            known = {patient.listed_as: frozenset({patient.pseudonym})}
            lists = read_lists(self._lists, known, self._register)
            self._out[patient.pseudonym] = str(
                lists.reasons(pd.Series([patient.pseudonym])).iloc[0]
            )
        return self._out[patient.pseudonym]


def _request(source: Path, file: ArchiveFile) -> Request:
    listed = (file.bytes, file.mtime_ns)
    return Request(READ, {"path": str(source / file.file), "listed": listed})


def _file(clean: Dataset) -> bytes:
    buffer = io.BytesIO()
    clean.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _write_new(path: Path, content: bytes, *, mine: bool) -> None:
    if not path.exists():
        durable.write_bytes(path, content)
    elif path.read_bytes() != content:
        raise UnusableFileError("instance-conflict")
    elif not mine:  # else left by a call that died before it was noted
        raise UnusableFileError("duplicate-instance")


def _write_report(target: Path, outcomes: list[Outcome], register: Register) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("file", "outcome", "reason", "copy"))
    writer.writerows(sorted(_report_rows(outcomes, register)))
    content = buffer.getvalue().encode("ascii")
    path = target / REPORT
    if not path.exists() or path.read_bytes() != content:
        durable.write_bytes(path, content)


def _report_rows(outcomes: list[Outcome], register: Register) -> Iterator[tuple[str, ...]]:
    for one in outcomes:
        name = register.names.of("file", os.fsencode(one.file).hex())
        yield name, "refused" if one.reason else WRITTEN, one.reason, one.place


def _refuse_other_version(record: Record, version: str, target: Path) -> None:
    names = {outcome.profile for outcome in record.known.values() if outcome.place}
    if names - {version}:
        problem = (
            f"{target} holds copies made by another profile or with other checks; name a new folder"
        )
        raise SettingsError("deidentify", (problem,))


def _refuse_places(source: Path, target: Path, home: Path) -> None:
    archive, copies, own = (path.resolve() for path in (source, target, home))
    problems = []
    if copies == archive or archive in copies.parents:
        problems.append(
            f"{target} lies inside {source}: copies would mix with originals; name another folder"
        )
    if copies == own or own in copies.parents:
        problems.append(f"{target} lies inside the site's home {home}; name another folder")
    if problems:
        raise SettingsError("deidentify", tuple(problems))
