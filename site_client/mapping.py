"""Who is who, in the hospital's own words: the mapping file of ``[patients]``.

Each row names a patient (column ``patient``: the hospital's master number, any text) and what
that patient is known by: a PatientID with or without its issuer, a StudyInstanceUID or an
AccessionNumber. A study outranks an accession, and both outrank a PatientID, so that two
people who share one PatientID can be told apart study by study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedrad.errors import DataError
from site_client.tables import TableRow, read_table

PATIENT = "patient"
STUDY, ACCESSION, ID, ISSUER = (
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
    "IssuerOfPatientID",
)
COLUMNS = (ID, ISSUER, STUDY, ACCESSION, PATIENT)

Key = tuple[str, str, str]  # column, value, issuer (empty: any)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What the hospital says of its patients, by what they are known by."""

    masters: dict[Key, str] = field(default_factory=dict, repr=False)
    lines: dict[Key, int] = field(default_factory=dict, repr=False)  # of the file, from 1

    def master(
        self, patient_id: str, issuer: str = "", *, study: str = "", accession: str = ""
    ) -> str | None:
        """Return the hospital's own name of the patient, or ``None`` if it gives none."""
        keys = (
            (STUDY, study, ""),
            (ACCESSION, accession, ""),
            (ID, patient_id, issuer),
            (ID, patient_id, ""),
        )
        return next((self.masters[key] for key in keys if key[1] and key in self.masters), None)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield each entry as text and its patient, sorted: the same for any order of rows."""
        for key, master in sorted(self.masters.items()):
            yield "\x1f".join(key), master


def read_mapping(path: Path | None) -> Mapping:
    """Read the mapping file; without one nobody is mapped.

    Raises:
        ArchiveError: The file is missing or no text.
        DataError: It lacks a column, leaves one empty, or gives one key two patients; names
            the line and no patient.
    """
    found = Mapping()
    if path is None:
        return found
    table = read_table(path, COLUMNS)
    if PATIENT not in table.columns or not {ID, STUDY, ACCESSION} & set(table.columns):
        raise DataError(_lacks(path, 1))
    for row in table.rows:
        key, master = _key(row), row.get(PATIENT)
        if not key[1] or not master:
            raise DataError(_lacks(path, row.line))
        if found.masters.setdefault(key, master) != master:
            raise DataError(
                f"{path} lines {found.lines[key]} and {row.line} give one {key[0]} two patients; "
                "decide for one of them"
            )
        found.lines.setdefault(key, row.line)
    return found


def _key(row: TableRow) -> Key:
    for column in (STUDY, ACCESSION):
        if row.get(column):
            return column, row.get(column), ""
    return ID, row.get(ID), row.get(ISSUER)


def _lacks(path: Path, line: int) -> str:
    return (
        f"{path} line {line}: it needs the columns PatientID and patient, or StudyInstanceUID or "
        "AccessionNumber and patient, filled in every row"
    )
