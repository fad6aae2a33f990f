"""Read a table or a list that a person wrote: whatever a spreadsheet made of it.

A hospital's lists come out of Excel: with semicolons or tabs, in UTF-8, UTF-16 or cp1252,
with or without a header, and with leading zeros lost. Here text becomes rows with their line
numbers; a message can then name a line and no patient. What the columns mean belongs to the
callers.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrad.errors import ArchiveError

DELIMITERS = ";\t,"
MOST_DIGITS = 16  # of a number that may have lost leading zeros; DICOM's SH and usual IDs


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its line in the file, counted from 1, and its values by known column."""

    line: int
    values: dict[str, str]

    def get(self, column: str) -> str:
        """Return the value of a column without white space at its ends; empty if absent."""
        return self.values.get(column, "")


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds of the columns that the caller knows."""

    columns: tuple[str, ...]  # known columns that it has
    rows: tuple[TableRow, ...]  # those with any value
    headed: bool  # whether its first line named a column


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Read a table whose header may name some of ``columns``, in any order and spelling.

    ``Patient ID``, ``patient_id`` and ``PATIENTID`` are the column ``PatientID``. A file whose
    first line names none of the columns is a plain list of the first column, one a line.

    Args:
        path: A text file; semicolons, tabs or commas between its values.
        columns: Names of DICOM attributes and the like; the first is that of a plain list.

    Raises:
        ArchiveError: The file is missing or is no text.
    """
    text = read_text(path)
    lines = _records(text)
    first = next(lines, None)
    if first is None:
        return Table((), (), headed=False)
    found = [_known(cell, columns) for cell in first[1]]
    headed = any(found)
    if not headed:
        found = [columns[0]]
        lines = _records(text)
    rows = (_row(line, cells, found) for line, cells in lines)
    kept = tuple(row for row in rows if any(row.values.values()))
    return Table(tuple(name for name in found if name), kept, headed)


def read_text(path: Path) -> str:
    """Return a text file's content: UTF-8, UTF-16 with its mark, else cp1252.

    Raises:
        ArchiveError: The file is missing or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise ArchiveError(f"{path} cannot be read; correct its name in site.toml") from None
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ArchiveError(f"{path} cannot be read as text; save it as CSV (UTF-8)")


def with_zeros(number: str) -> Iterator[str]:
    """Yield what a number may have been before a spreadsheet took its leading zeros.

    Nothing for a text that is no number, or longer than ``MOST_DIGITS``.
    """
    if number.isascii() and number.isdecimal():
        for length in range(len(number) + 1, MOST_DIGITS + 1):
            yield number.zfill(length)


def rounded_by_spreadsheet(text: str) -> bool:
    """Whether a spreadsheet wrote a number as ``1.23E+11``, whose digits are lost."""
    whole, sep, power = text.upper().partition("E+")
    return bool(sep) and power.isdecimal() and whole.replace(".", "").replace(",", "").isdecimal()


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        raise ArchiveError(f"line {line} of a list is no row of a table; save it anew") from None


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=first.count) if any(d in first for d in DELIMITERS) else ","


def _known(cell: str, columns: Sequence[str]) -> str:
    return next((name for name in columns if _plain(name) == _plain(cell)), "")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _row(line: int, cells: list[str], columns: list[str]) -> TableRow:
    pairs = zip(columns, cells, strict=False)
    return TableRow(line, {name: cell.strip() for name, cell in pairs if name})
