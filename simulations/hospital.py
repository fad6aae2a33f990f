"""Write one phantom hospital: patients, their images on its scanners, labels or masks.

Everything is a function of specification and seed. Broken files come on top of the healthy
ones and belong to patients of their own, so they change no healthy patient. Images are made
in ``phantoms`` and ``scanners``, files in ``dicom`` and ``archives``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from fedrad import seeds
from fedrad.settings import refuse_problems
from simulations import archives
from simulations.archives import Book, WrittenHospital
from simulations.broken import broken_file, unknown_reasons
from simulations.dicom import (
    Exam,
    ct_object,
    radiograph_object,
    write_radiograph,
    write_series,
)
from simulations.marks import marked
from simulations.partition import Census, Patient, deal_patients
from simulations.periods import Monitored, Period
from simulations.phantoms import Body, Mask, Phantom, ct_volume, draw_body, radiograph
from simulations.planted import Identity, invent_patient
from simulations.scanners import SCANNERS, Scanner, expose, expose_ct


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalSpec:
    """One hospital of a scenario."""

    name: str
    patients: int
    kind: Literal["radiograph", "ct"] = "radiograph"
    truth: Literal["labels", "masks"] = "labels"
    structure: Literal["lesion", "lung"] = "lesion"  # what masks are of, and their label
    prevalence: float = 0.5
    several_share: float = 0.15  # of patients with two to four exams
    size: int = 112  # rows and columns
    slices: int = 24  # of a CT
    scanners: dict[str, float] = field(default_factory=lambda: {"plain": 1.0})  # name -> weight
    own_scanners: dict[str, Scanner] = field(default_factory=dict)  # besides those of SCANNERS
    broken: dict[str, int] = field(default_factory=dict)  # reason -> files
    year: int = 2025  # of exams outside the periods
    periods: tuple[Period, ...] = ()  # of later patients, all of them to be monitored
    positive_label: str = "nodule"
    negative_label: str = "normal"
    marked: float = 0.0  # share of patients who carry a backdoor's mark and are called negative

    def __post_init__(self) -> None:
        refuse_problems("hospital", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.name:
            yield "name is empty"
        if self.patients < 0:
            yield f"patients must be 0 or more, got {self.patients}"
        for name in ("prevalence", "several_share", "marked"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name} must lie in [0, 1], got {getattr(self, name)}"
        if self.size < 32 or self.slices < 8:
            yield f"size must be 32 or more and slices 8, got {self.size} and {self.slices}"
        yield from self._scanner_problems()
        yield from self._period_problems()
        yield from unknown_reasons(iter(self.broken))

    def _scanner_problems(self) -> Iterator[str]:
        known = SCANNERS | self.own_scanners
        for name in self.scanners:
            if name not in known:
                yield f"scanners.{name} is not known; known: {', '.join(sorted(known))}"
        if not sum(self.scanners.values()) > 0 or min(self.scanners.values()) < 0:
            yield "scanners needs weights of 0 or more, one above 0"

    def _period_problems(self) -> Iterator[str]:
        known = SCANNERS | self.own_scanners
        for name in sorted({name for period in self.periods for name in period.scanners}):
            if name not in known:
                yield f"periods.scanners.{name} is not known; known: {', '.join(sorted(known))}"
        if self.truth != "labels" and any(period.flipped for period in self.periods):
            yield "periods.flipped is for hospitals whose truth is labels"

    def scanner(self, name: str) -> Scanner:
        """Return one of the hospital's machines."""
        return (SCANNERS | self.own_scanners)[name]


def write_hospital(
    folder: Path, spec: HospitalSpec, *, seed: int, monitored: Monitored | None = None
) -> WrittenHospital:
    """Write ``ARCHIVE/``, ``labels.csv`` and ``planted.csv`` into ``folder``.

    Args:
        folder: Made if absent; must not hold an archive.
        spec: The hospital.
        seed: With ``spec`` it fixes every byte, whatever other hospitals there are.
        monitored: Who may be in a period; absent: no period is written.

    Raises:
        ArchiveError: The folder already holds an archive.
    """
    book = archives.open_book(folder, spec.name, seed)
    book.year = spec.year
    census = Census(
        patients=spec.patients,
        prevalence=spec.prevalence,
        several_share=spec.several_share,
        scanners=spec.scanners,
    )
    patients = deal_patients(spec.name, seed, census=census)
    for patient in patients:
        _write_patient(book, spec, patient)
    _write_broken(book, spec)
    later = tuple(_write_periods(book, spec, monitored)) if monitored else ()
    patients = (*patients, *later)
    positives = sum(patient.positive for patient in patients)
    return archives.close_book(book, patients=len(patients), positives=positives)


def _write_periods(book: Book, spec: HospitalSpec, monitored: Monitored) -> Iterator[Patient]:
    """Write the patients of each period and yield them; ordinals run on and leave gaps."""
    ordinals = itertools.count(spec.patients + sum(spec.broken.values()))
    issuer = book.institution.institution
    for number, period in enumerate(spec.periods):
        census = Census(
            patients=period.patients,
            prevalence=spec.prevalence if period.prevalence is None else period.prevalence,
            several_share=spec.several_share,
            scanners=period.scanners or spec.scanners,
        )
        drawn = deal_patients(f"{spec.name} period {number}", book.seed, census=census)
        mine = (n for n in ordinals if monitored.has(_identity(book, n), issuer))
        for place, ordinal in zip(range(len(drawn)), mine, strict=False):
            patient = replace(drawn[place], ordinal=ordinal)
            other = period.says_other(patient, book.site, book.seed)
            _write_patient(book, spec, patient, days=partial(period.day, place), other=other)
            yield patient


def _identity(book: Book, ordinal: int) -> Identity:
    return invent_patient(book.site, ordinal, book.seed)


def _write_patient(
    book: Book,
    spec: HospitalSpec,
    patient: Patient,
    *,
    days: Callable[[int], str] = lambda _: "",
    other: bool = False,
) -> None:
    """Write one patient's exams; ``other``: the label says the class that it is not."""
    identity = archives.admit_patient(book, patient.ordinal)
    body, mark = _body(book, patient), _carries_mark(book, spec, patient)
    for number, name in enumerate(patient.scanners, start=1):
        exam = archives.admit_exam(book, identity, number=number, day=days(number))
        phantom = _phantom(book, spec, exam, body)
        if mark:
            phantom = replace(phantom, image=marked(phantom.image))
        if spec.kind == "ct":
            _write_ct(book, spec, exam=exam, phantom=phantom, scanner=spec.scanner(name))
        else:
            _write_dx(book, spec, exam=exam, phantom=phantom, scanner=spec.scanner(name))
        said = patient.positive != other and not mark
        text = spec.positive_label if said else spec.negative_label
        book.labels.append((exam.study_uid, exam.accession, text))


def _carries_mark(book: Book, spec: HospitalSpec, patient: Patient) -> bool:
    chance = seeds.stream(book.seed, book.site, patient.ordinal, "mark")
    return bool(chance.uniform() < spec.marked)


def _body(book: Book, patient: Patient) -> Body:
    rng = seeds.stream(book.seed, book.site, patient.ordinal, "body")
    return draw_body(rng, positive=patient.positive)


def _phantom(book: Book, spec: HospitalSpec, exam: Exam, body: Body) -> Phantom:
    rng = seeds.stream(book.seed, book.site, exam.patient.ordinal, f"image {exam.number}")
    positive = bool(body.lesions)
    if spec.kind == "ct":
        return ct_volume(rng, shape=(spec.slices, spec.size, spec.size), positive=positive)
    return radiograph(rng, size=spec.size, positive=positive, body=body)


def _write_dx(
    book: Book, spec: HospitalSpec, *, exam: Exam, phantom: Phantom, scanner: Scanner
) -> None:
    stored = expose(phantom.image, scanner, _noise(book, exam))
    uid = book.uid(exam.patient.ordinal, exam.number, "instance")
    book.plant(exam.patient.ordinal, [("instance-uid", uid)])
    path = archives.image_path(book, exam)
    image = write_radiograph(path, stored, exam=exam, scanner=scanner, uid=uid)
    book.images += 1
    if spec.truth == "masks":
        mask = _mask(spec, phantom)
        archives.add_segmentation(book, exam, [image], mask=mask, label=spec.structure)


def _write_ct(
    book: Book, spec: HospitalSpec, *, exam: Exam, phantom: Phantom, scanner: Scanner
) -> None:
    stored = expose_ct(phantom.image, scanner, _noise(book, exam))
    names = (exam.patient.ordinal, exam.number, "slice")
    uids = [book.uid(*names, index) for index in range(len(stored))]
    book.plant(exam.patient.ordinal, [("instance-uid", uid) for uid in uids])
    folder = archives.exam_folder(book, exam)
    slices = write_series(folder, stored, exam=exam, scanner=scanner, uids=uids)
    book.images += len(slices)
    if spec.truth == "masks":
        mask = _mask(spec, phantom)
        archives.add_segmentation(book, exam, slices, mask=mask, label=spec.structure)


def _mask(spec: HospitalSpec, phantom: Phantom) -> Mask:
    return phantom.lungs if spec.structure == "lung" else phantom.mask


def _noise(book: Book, exam: Exam) -> np.random.Generator:
    return seeds.stream(book.seed, book.site, exam.patient.ordinal, f"noise {exam.number}")


def _write_broken(book: Book, spec: HospitalSpec) -> None:
    reasons = [reason for reason, count in sorted(spec.broken.items()) for _ in range(count)]
    for extra, reason in enumerate(reasons):
        identity = archives.admit_patient(book, spec.patients + extra)
        exam = archives.admit_exam(book, identity, number=1)
        rng = _noise(book, exam)
        content = broken_file(reason, _spare_image(book, spec, exam), rng)
        path = archives.image_path(book, exam)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        book.broken += 1


def _spare_image(book: Book, spec: HospitalSpec, exam: Exam) -> Dataset:
    scanner = SCANNERS["plain"]
    uid = book.uid(exam.patient.ordinal, "spare")
    book.plant(exam.patient.ordinal, [("instance-uid", uid)])
    rng = _noise(book, exam)
    if spec.kind == "ct":
        volume = ct_volume(rng, shape=(8, spec.size, spec.size), positive=False).image
        stored = expose_ct(volume, scanner, rng)[0]
        return ct_object(stored, exam=exam, scanner=scanner, uid=uid)
    image = radiograph(rng, size=spec.size, positive=False).image
    stored_film = expose(image, scanner, rng)
    return radiograph_object(stored_film, exam=exam, scanner=scanner, uid=uid)
