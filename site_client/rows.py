"""One row of the catalogue: what is kept of a file, identifiers as pseudonyms.

Turns what a file says of itself (``archive.facts``) into columns. The relative path is the
only text from the archive that stays as it is; which rows may be used belongs to
``catalogue`` and ``gate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from fedrad.shift.tags import cell, known_tags
from site_client.archive.facts import Facts
from site_client.archive.folder import ArchiveFile
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.patients import Register

OF_CELLS = {  # tag of the public vocabulary -> where an image says it
    "kvp": "KVP", "pixel spacing": "PixelSpacing", "slice thickness": "SliceThickness",
    "field strength": "MagneticFieldStrength", "echo time": "EchoTime",
    "detector spacing": "ImagerPixelSpacing",
}  # fmt: skip
KEYWORDS = (
    "SOPInstanceUID", "SOPClassUID", "Modality", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation",
    "ViewPosition", "ImageType", "BurnedInAnnotation", "ReferencedSeriesSequence",
    "PatientOrientation", "ImageOrientationPatient", "Manufacturer", "ManufacturerModelName",
    "DeviceSerialNumber", "StudyDate", "PatientAge", *OF_CELLS.values(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One file: where it is, why it cannot be used (``fault``), and what it says."""

    file: str
    bytes: int
    mtime_ns: int
    version: str
    fault: str = ""  # found in the file itself; "" if none
    digest: str = ""  # SHA-256 of the bytes, once somebody had to read them all
    content: str = ""  # SHA-256 of what it says, once decoded; "-" where that cannot be had
    instance: str = ""  # pseudonyms from here ...
    patient: str = ""
    listed_as: str = ""
    study: str = ""
    series: str = ""
    accession: str = ""  # ... to here
    identity: str = ""  # own, mapped, blank or placeholder; "" if the file was not read
    born: str = ""  # keyed digests of birth date and sex, another for each patient
    sex: str = ""
    slot: int = -1  # 0 to 999, decides the split
    sop_class: str = ""
    modality: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 1
    samples: int = 1
    photometric: str = ""
    view: str = ""
    image_type: str = ""
    burned_in: str = ""
    orientation: str = ""  # LF, ... of a radiograph; axial, coronal, sagittal, oblique of a slice
    maker: str = ""  # of the scanner, with its model
    device: str = ""  # pseudonym of its serial number
    references: str = ""  # a segmentation's source images, pseudonyms with spaces between
    referenced_series: str = ""
    exam: str = ""  # the study's date, YYYY-MM-DD; it decides the window and stays here
    cells: str = ""  # numbers of public cells: of the machine's words, of sex and age in years


COLUMNS = tuple(Row.__dataclass_fields__)
_UPRIGHT = 0.9  # cosine between a slice's normal and the patient's axis, 26 degrees
_LONGEST = 64  # characters of a maker's or a model's name (LO)
_AGE_UNITS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}  # PS3.5 6.2, AS
_DAYS_A_YEAR = 365.25
_SEXES = ("M", "F", "O")  # PS3.3 C.7.1.1; anything else says nothing


def as_row(found: ArchiveFile, facts: Facts, register: Register, *, version: str) -> Row:
    """Return the row of one file that could be read.

    Args:
        found: Where it is.
        facts: What it says of itself.
        register: Who is who, and the site's pseudonyms.
        version: What the row's meaning depends on besides the file.
    """
    said = _values(facts.values, register.names) | _patient(facts.values, register)
    said |= _scanner(facts.values, register.names)
    said |= _references(facts.references, register.names)
    said |= {"exam": _day(facts.values.get("StudyDate", "")), "cells": _cells(facts.values)}
    return Row(found.file, found.bytes, found.mtime_ns, version, fault=facts.fault, **said)


def _values(said: Mapping[str, str], names: Pseudonyms) -> dict[str, Any]:
    return {
        "instance": _name(said, "SOPInstanceUID", names, "instance"),
        "study": _name(said, "StudyInstanceUID", names, "StudyInstanceUID"),
        "series": _name(said, "SeriesInstanceUID", names, "SeriesInstanceUID"),
        "accession": _name(said, "AccessionNumber", names, "AccessionNumber"),
        "sop_class": said.get("SOPClassUID", ""),
        "modality": said.get("Modality", ""),
        "rows": int(said.get("Rows") or 0),
        "columns": int(said.get("Columns") or 0),
        "frames": int(said.get("NumberOfFrames") or 1),
        "samples": int(said.get("SamplesPerPixel") or 1),
        "photometric": said.get("PhotometricInterpretation", ""),
        "view": said.get("ViewPosition", ""),
        "image_type": said.get("ImageType", ""),
        "burned_in": said.get("BurnedInAnnotation", ""),
        "orientation": _orientation(said),
    }


def _orientation(said: Mapping[str, str]) -> str:
    cosines = said.get("ImageOrientationPatient", "")
    if not cosines:  # a projection: the first letter of the rows' and of the columns' direction
        return "".join(way[:1] for way in said.get("PatientOrientation", "").split("\\"))
    try:
        rows, columns = np.array([float(v) for v in cosines.split("\\")]).reshape(2, 3)
    except ValueError:
        return ""
    normal = np.abs(np.cross(rows, columns))
    plane = ("sagittal", "coronal", "axial")[int(normal.argmax())]
    return plane if normal.max() > _UPRIGHT else "oblique"


def _scanner(said: Mapping[str, str], names: Pseudonyms) -> dict[str, str]:
    parts = (said.get("Manufacturer", ""), said.get("ManufacturerModelName", ""))
    return {
        "maker": " ".join(part[:_LONGEST] for part in parts if part),
        "device": _name(said, "DeviceSerialNumber", names, "device"),
    }


def _name(said: Mapping[str, str], keyword: str, names: Pseudonyms, kind: str) -> str:
    value = said.get(keyword, "").strip()
    return names.of(kind, value) if value else ""


def _patient(said: Mapping[str, str], register: Register) -> dict[str, Any]:
    patient = register.patient(
        said.get("PatientID", ""),
        said.get("IssuerOfPatientID", ""),
        study=said.get("StudyInstanceUID", ""),
        accession=said.get("AccessionNumber", ""),
    )
    sex, born = said.get("PatientSex", "").upper(), said.get("PatientBirthDate", "")
    return {
        "patient": patient.pseudonym,
        "slot": patient.slot,
        "listed_as": patient.listed_as,
        "identity": patient.identity,
        "born": register.names.of("born", f"{patient.pseudonym} {born}") if born else "",
        "sex": register.names.of("sex", f"{patient.pseudonym} {sex}") if sex in _SEXES else "",
    }


def _cells(said: Mapping[str, str]) -> str:
    """Return the public cells of what an image says, as ``tag=number`` with ; between.

    Nothing but the cell is kept: of an age its bin, of a word whether it is a known one.
    """
    found = {tag: said.get(keyword, "") for tag, keyword in OF_CELLS.items()}
    found["pixel spacing"] = found["pixel spacing"] or found.pop("detector spacing")
    found["manufacturer"] = said.get("Manufacturer", "")
    found |= {"sex": said.get("PatientSex", ""), "age": _years(said)}
    return ";".join(f"{tag}={cell(tag, found[tag])}" for tag in known_tags())


def read_cells(text: str) -> dict[str, int]:
    """Return the cells of a row by tag; an empty text has none."""
    parts = (part.partition("=") for part in text.split(";") if part)
    return {tag: int(number) for tag, _, number in parts}


def _years(said: Mapping[str, str]) -> str:
    """Return a patient's age at the exam in years, as PatientAge says or by the birth date."""
    born, exam = _day(said.get("PatientBirthDate", "")), _day(said.get("StudyDate", ""))
    age = said.get("PatientAge", "")
    if age[:-1].isdigit() and age[-1:] in _AGE_UNITS:
        return str(int(age[:-1]) * _AGE_UNITS[age[-1]])
    if not born or not exam:
        return ""
    return str((date.fromisoformat(exam) - date.fromisoformat(born)).days / _DAYS_A_YEAR)


def _day(text: str) -> str:
    """Return a DICOM date as YYYY-MM-DD; empty where it is none."""
    try:
        return datetime.strptime(text, "%Y%m%d").date().isoformat()  # noqa: DTZ007  # a day
    except ValueError:
        return ""


def _references(drawn_on: Mapping[str, list[str]], names: Pseudonyms) -> dict[str, str]:
    images = [image for found in drawn_on.values() for image in found]
    return {
        "references": " ".join(names.of("instance", image) for image in images),
        "referenced_series": " ".join(names.of("SeriesInstanceUID", one) for one in drawn_on),
    }
