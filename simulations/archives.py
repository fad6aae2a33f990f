"""Lay out one hospital's files: archive, labels, and the list of what was planted.

``FOLDER/ARCHIVE`` is what the hospital has, in folders named as archives name them, patient
names and accession numbers included; ``labels.csv`` is keyed by study and accession;
``planted.csv`` lists every invented identifier and is no part of the hospital. What the
images show belongs to ``hospital`` and ``public``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fedrad.errors import ArchiveError
from simulations.dicom import Exam
from simulations.planted import (
    SITE_WIDE,
    Identity,
    Planted,
    SiteIdentity,
    invent_patient,
    invent_site,
    invent_uid,
    write_planted,
)

ARCHIVE, LABELS, PLANTED = "ARCHIVE", "labels.csv", "planted.csv"
_SUFFIXES = ("", ".dcm", ".DCM", ".ima")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHospital:
    """Where one hospital's files are, and how much was written."""

    site: str
    archive: Path
    labels: Path
    planted: Path
    patients: int
    studies: int  # one label each
    images: int  # files of images, without segmentations
    segmentations: int
    positives: int  # patients
    broken: int  # files
    identifiers: int  # different planted values


@dataclass(slots=True)
class Book:
    """What was written so far at one site."""

    site: str
    seed: int
    archive: Path
    institution: SiteIdentity
    labels: list[tuple[str, str, str]] = field(default_factory=list)
    planted: dict[Planted, None] = field(default_factory=dict)
    images: int = 0
    segmentations: int = 0
    broken: int = 0
    year: int = 2025  # of exams without a day

    def plant(self, patient: int, pairs: Iterable[tuple[str, str]]) -> None:
        """Note identifiers of one patient, each once."""
        for kind, value in pairs:
            self.planted[Planted(self.site, patient, kind, value)] = None

    def uid(self, *names: str | int) -> str:
        """Return the UID that the site's seed gives to ``names``."""
        return invent_uid(self.seed, self.site, *names)


def open_book(folder: Path, site: str, seed: int) -> Book:
    """Begin a hospital in ``folder``.

    Raises:
        ArchiveError: It already holds an archive.
    """
    archive = folder / ARCHIVE
    if archive.exists():
        raise ArchiveError(f"{archive} already exists; remove it or choose another folder")
    archive.mkdir(parents=True)
    book = Book(site, seed, archive, invent_site(site, seed))
    book.plant(SITE_WIDE, book.institution.planted())
    return book


def admit_patient(book: Book, ordinal: int) -> Identity:
    """Invent one patient and note the identifiers."""
    patient = invent_patient(book.site, ordinal, book.seed)
    book.plant(ordinal, patient.planted())
    return patient


def admit_exam(
    book: Book, patient: Identity, *, number: int, view: str = "PA", day: str = ""
) -> Exam:
    """Invent one exam of a patient and note its identifiers; numbers run from 1.

    ``day`` is YYYYMMDD; empty: one of the book's year.
    """
    study_uid = book.uid(patient.ordinal, number, "study")
    exam = Exam(
        patient=patient,
        site=book.institution,
        study_uid=study_uid,
        series_uid=book.uid(patient.ordinal, number, "series"),
        accession=f"QA{int(study_uid[-9:]):09d}{number % 10}",
        date=day or f"{book.year}{patient.ordinal % 12 + 1:02d}{number % 28 + 1:02d}",
        comment=f"Patient {patient.family}, {patient.given}, lives at {patient.address}",
        number=number,
        view=view,
    )
    book.plant(patient.ordinal, exam.planted())
    return exam


def exam_folder(book: Book, exam: Exam) -> Path:
    """Return the folder of one exam, named as archives do it: with everything one must not."""
    patient = exam.patient
    return book.archive / f"{patient.family}_{patient.patient_id}" / f"{exam.date} {exam.accession}"


def image_path(book: Book, exam: Exam) -> Path:
    """Return the path of an exam's only image; suffixes differ as they do."""
    ordinal = exam.patient.ordinal
    suffix = _SUFFIXES[(ordinal + exam.number) % len(_SUFFIXES)]
    return exam_folder(book, exam) / f"IM{ordinal:05d}_{exam.number:03d}{suffix}"


def add_segmentation(
    book: Book, exam: Exam, images: Sequence[Dataset], *, mask: NDArray[np.uint8], label: str
) -> None:
    """Write the mask of one exam beside its images and note its UIDs."""
    from simulations.segmentations import write_segmentation  # highdicom is slow to import

    path = exam_folder(book, exam) / f"SEG{exam.number:03d}.dcm"
    uid = write_segmentation(path, images, mask=mask, exam=exam, label=label)
    book.plant(exam.patient.ordinal, [("segmentation-uid", uid)])
    book.segmentations += 1


def close_book(book: Book, *, patients: int, positives: int) -> WrittenHospital:
    """Write ``labels.csv`` and ``planted.csv`` beside the archive."""
    folder = book.archive.parent
    with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("StudyInstanceUID", "AccessionNumber", "label"))
        writer.writerows(book.labels)
    write_planted(folder / PLANTED, book.planted)
    return WrittenHospital(
        site=book.site,
        archive=book.archive,
        labels=folder / LABELS,
        planted=folder / PLANTED,
        patients=patients,
        studies=len(book.labels),
        images=book.images,
        segmentations=book.segmentations,
        positives=positives,
        broken=book.broken,
        identifiers=len({row.value for row in book.planted}),
    )
