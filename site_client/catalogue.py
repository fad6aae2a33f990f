"""The catalogue: one row for each file of the archive, without pixels.

Rows are kept between runs and read again only when a file's size or time changed. A file
that cannot be used gets a fault, never an error: it goes to ``quarantine.csv`` and the rest
goes on. UIDs, accession numbers and patient IDs are pseudonyms here; the relative path is
the only text from the archive. Which images suit a task belongs to ``gate``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom.dataset import Dataset

from fedrad import durable
from site_client import home as site_home
from site_client.archive.folder import ArchiveFile, list_files
from site_client.archive.instances import (
    Header,
    UnusableFileError,
    claimed_pixels,
    foreign_bytes,
    read_header,
    refuse_too_large,
)
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.identities import REASON as UNUSABLE
from site_client.identities import unusable
from site_client.patient_lists import known_patients, read_lists
from site_client.patients import Register, read_register, register_version
from site_client.settings import PatientLists, read_site

FILE = "catalogue.parquet"
QUARANTINE = "quarantine.csv"
SEGMENTATION = "SEG"
_VERSION = "2"  # raise when a row's meaning changes: every file is then read again
_TAGS = (
    "SOPInstanceUID", "SOPClassUID", "Modality", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation",
    "ViewPosition", "ImageType", "BurnedInAnnotation", "ReferencedSeriesSequence",
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
    references: str = ""  # a segmentation's source images, pseudonyms with spaces between
    referenced_series: str = ""


COLUMNS = tuple(Row.__dataclass_fields__)
_SEXES = ("M", "F", "O")  # PS3.3 C.7.1.1; anything else says nothing


def update_catalogue(home: Path) -> pd.DataFrame:
    """Bring the catalogue up to date with the archive, and write it if anything changed.

    Args:
        home: The site's folder; ``catalogue.parquet`` and ``quarantine.csv`` are written.

    Returns:
        One row for each file, sorted by path: the columns of ``Row``, ``reason``, which is
        empty where the file may be used and else says why not, and ``detail``.

    Raises:
        ArchiveError: The archive is missing.
        SettingsError: ``site.toml`` cannot be used.
    """
    settings = read_site(home)
    secret = site_home.split_key(home)
    register = read_register(settings.patients, secret)
    version = f"{_VERSION}-{register_version(register)}"
    known = _known_rows(home, version)
    files = list_files(settings.archive.path)
    fresh = [found for found in files if (found.file, found.bytes, found.mtime_ns) not in known]
    table = _table(
        [known.get((found.file, found.bytes, found.mtime_ns)) for found in files],
        [asdict(read_row(settings.archive.path, f, register, version=version)) for f in fresh],
    )
    table = table.assign(**_reasons(table, settings.patients, register))
    if fresh or len(known) != len(files) or not (home / FILE).exists():
        write_catalogue(home, table)
    write_quarantine(home, "", table.loc[table["reason"] != "", ["file", "reason", "detail"]])
    return table


def read_row(folder: Path, found: ArchiveFile, register: Register, *, version: str) -> Row:
    """Read what the catalogue keeps of one file; a file that cannot be used has a fault."""
    place = (found.file, found.bytes, found.mtime_ns, version)
    try:
        header = read_header(folder / found.file, _TAGS)
        with foreign_bytes("unreadable"):
            values = _values(header.elements, register.names)
            values |= _patient(header.elements, register)
            values |= _references(header.elements, register.names)
            return Row(*place, **values, fault=_fault(header))
    except UnusableFileError as error:
        return Row(*place, fault=error.reason)


def write_catalogue(home: Path, table: pd.DataFrame) -> None:
    """Write the rows durably as ``catalogue.parquet``; ``reason`` is worked out anew each time."""
    buffer = io.BytesIO()
    table[list(COLUMNS)].to_parquet(buffer, index=False)
    durable.write_bytes(home / FILE, buffer.getvalue())


def write_quarantine(home: Path, task: str, refused: pd.DataFrame) -> None:
    """Replace what ``quarantine.csv`` says for one task; the hospital's own eyes only.

    Args:
        home: The site's folder.
        task: The task's name; empty for files that no task can use.
        refused: Columns ``file`` (relative path), ``reason`` and, where known, ``detail``.
    """
    path = home / QUARANTINE
    columns = ["file", "reason", "task", "detail"]
    new = refused.assign(task=task).reindex(columns=columns).fillna("")
    old = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else new.iloc[:0]
    kept = old[old["task"] != task].reindex(columns=columns).fillna("")
    text = pd.concat([kept, new]).to_csv(index=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        durable.write_bytes(path, text.encode("utf-8"))


def _known_rows(home: Path, version: str) -> dict[tuple[str, int, int], dict[str, Any]]:
    path = home / FILE
    if not path.exists():
        return {}
    table = pd.read_parquet(path)
    if tuple(table.columns) != COLUMNS:
        return {}
    rows = table[table["version"] == version].to_dict("records")
    return {(row["file"], row["bytes"], row["mtime_ns"]): row for row in rows}  # type: ignore[misc]


def _table(known: Iterable[dict[str, Any] | None], fresh: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [row for row in known if row is not None] + fresh
    rows.sort(key=lambda row: str(row["file"]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _reasons(
    table: pd.DataFrame, lists: PatientLists, register: Register
) -> dict[str, pd.Series[str]]:
    said = unusable(table, lists.max_studies)
    listed = read_lists(lists, known_patients(table), register).reasons(table["patient"])
    reason = table["fault"].astype(object)
    reason = reason.mask((reason == "") & (said != ""), UNUSABLE)
    reason = reason.mask(reason == "", listed)
    copies = table.loc[table["fault"] == "", ["patient", "instance"]].duplicated()
    again = copies.reindex(table.index, fill_value=False)
    reason = reason.mask((reason == "") & again, "duplicate-instance")
    return {"reason": reason, "detail": said.where(reason == UNUSABLE, "")}


def _values(elements: Dataset, names: Pseudonyms) -> dict[str, Any]:
    return {
        "instance": _name(elements, "SOPInstanceUID", names, "instance"),
        "study": _name(elements, "StudyInstanceUID", names, "StudyInstanceUID"),
        "series": _name(elements, "SeriesInstanceUID", names, "SeriesInstanceUID"),
        "accession": _name(elements, "AccessionNumber", names, "AccessionNumber"),
        "sop_class": str(elements.get("SOPClassUID") or ""),
        "modality": str(elements.get("Modality") or ""),
        "rows": int(elements.get("Rows") or 0),
        "columns": int(elements.get("Columns") or 0),
        "frames": int(elements.get("NumberOfFrames") or 1),
        "samples": int(elements.get("SamplesPerPixel") or 1),
        "photometric": str(elements.get("PhotometricInterpretation") or ""),
        "view": str(elements.get("ViewPosition") or ""),
        "image_type": _joined(elements.get("ImageType")),
        "burned_in": str(elements.get("BurnedInAnnotation") or ""),
    }


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else "\\".join(map(str, value or ()))


def _name(elements: Dataset, tag: str, names: Pseudonyms, kind: str) -> str:
    value = str(elements.get(tag) or "").strip()
    return names.of(kind, value) if value else ""


def _patient(elements: Dataset, register: Register) -> dict[str, Any]:
    patient = register.patient(
        str(elements.get("PatientID") or ""),
        str(elements.get("IssuerOfPatientID") or ""),
        study=str(elements.get("StudyInstanceUID") or ""),
        accession=str(elements.get("AccessionNumber") or ""),
    )
    sex = str(elements.get("PatientSex") or "").strip().upper()
    born = str(elements.get("PatientBirthDate") or "").strip()
    return {
        "patient": patient.pseudonym,
        "slot": patient.slot,
        "listed_as": patient.listed_as,
        "identity": patient.identity,
        "born": register.names.of("born", f"{patient.pseudonym} {born}") if born else "",
        "sex": register.names.of("sex", f"{patient.pseudonym} {sex}") if sex in _SEXES else "",
    }


def _references(elements: Dataset, names: Pseudonyms) -> dict[str, str]:
    if elements.get("Modality") != SEGMENTATION:
        return {}
    series = list(elements.get("ReferencedSeriesSequence") or [])
    images = [image for item in series for image in item.get("ReferencedInstanceSequence") or []]
    return {
        "references": " ".join(
            names.of("instance", str(image.ReferencedSOPInstanceUID)) for image in images
        ),
        "referenced_series": " ".join(
            names.of("SeriesInstanceUID", str(item.SeriesInstanceUID)) for item in series
        ),
    }


def _fault(header: Header) -> str:
    elements = header.elements
    if not elements.get("SOPInstanceUID"):
        return "instance-uid-missing"
    if not (elements.get("Rows") and elements.get("Columns")):
        return "no-pixels"
    refuse_too_large(elements)
    if header.bytes_left <= 0:
        return "no-pixels"
    bits = claimed_pixels(elements) * int(elements.get("BitsAllocated") or 8)
    native = not header.encapsulated
    return "truncated" if native and header.bytes_left * 8 < bits else ""
