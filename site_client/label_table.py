"""Read the hospital's table of labels: one vote a row, and what is wrong with the others.

Columns are a key (study, accession or series), ``label`` and, where known, ``reader``, ``date``,
``source`` and ``laterality``. Keys become pseudonyms at once, so that no accession number is
kept. How a spreadsheet spoils text belongs to ``tables``; which image a vote is about and how
votes become one class belongs to ``labels``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedrad.data_contract import Labels
from fedrad.errors import ArchiveError, LabelError
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.tables import Table, TableRow, read_table, rounded_by_spreadsheet, with_zeros

VALUE = "label"
KEY_COLUMNS = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "AccessionNumber": "accession",
}  # of the task -> of the catalogue, and the short name that a table may use
_OPTIONAL = ("reader", "date", "source", "laterality")
_SAME_EXAM = ("StudyInstanceUID", "AccessionNumber")  # one may stand for the other
_DATES = ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y")  # no 03/04/2024: nobody can tell the month
_SIDES = {"": "", "L": "L", "R": "R", "LEFT": "L", "RIGHT": "R", "B": "", "BOTH": "", "U": ""}

_TROUBLE = {
    "no key": "have no key",
    "rounded": "have a number as 1.2E+11, whose digits a spreadsheet threw away; export it as text",
    "side": "have a laterality that is not L, R, B or U",
    "date": "have a date that is not YYYY-MM-DD, YYYYMMDD or DD.MM.YYYY",
}


@dataclass(frozen=True, slots=True)
class Vote:
    """What one row says of one exam."""

    keys: tuple[str, ...]  # pseudonyms: as written, then with leading zeros put back
    value: int  # class index
    reader: str = ""
    source: str = ""
    date: str = ""  # YYYY-MM-DD
    side: str = ""  # L, R, or empty for both


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The votes, and how many rows are none."""

    column: str  # the catalogue's column that holds the key
    votes: tuple[Vote, ...]
    unmapped: int  # rows whose label the task does not know
    blank: int  # rows without a label: unknown, never negative
    notes: tuple[str, ...]  # other trouble, as sentences with counts and line numbers only
    keeps_zeros: bool  # some number still begins with 0: the file was not spoiled


def read_labels(path: Path | None, labels: Labels, names: Pseudonyms) -> LabelTable:
    """Read the site's table of labels.

    Args:
        path: ``[labels] file`` of ``site.toml``.
        labels: The task's key, and its map from text to class index.
        names: The site's pseudonyms.

    Raises:
        LabelError: There is no file, it cannot be read, lacks a column, or holds no label
            that the task knows.
    """
    table = read_keyed_table(path, labels, VALUE)
    key = key_column(path, table, labels, VALUE)
    trouble: dict[str, list[int]] = {name: [] for name in _TROUBLE}
    rows = [(row, row.get(key[0])) for row in table.rows]
    blank = sum(not row.get(VALUE) for row, _ in rows)
    unmapped = sum(bool(v := row.get(VALUE)) and v not in labels.map for row, _ in rows)
    known = [(row, text) for row, text in rows if row.get(VALUE) in labels.map]
    votes = [
        _vote(row, text, labels, names, key[1])
        for row, text in known
        if not _spoiled(row, text, trouble)
    ]
    if not votes:
        raise LabelError(
            f"{path} has no row whose label is one of {', '.join(labels.map)}; "
            "write the labels as the task's [labels] map spells them"
        )
    zeros = any(text.startswith("0") and text.isdecimal() for _, text in rows)
    notes = tuple(_notes(trouble, votes))
    return LabelTable(KEY_COLUMNS[key[1]], tuple(votes), unmapped, blank, notes, zeros)


def read_keyed_table(path: Path | None, labels: Labels, value: str) -> Table:
    """Read a table of keys and a value column, in whatever spelling a spreadsheet gave it.

    Raises:
        LabelError: There is no file, or it cannot be read.
    """
    if path is None:
        raise LabelError(
            f"the task needs labels; name a CSV with the columns {labels.key} and {value} "
            "as [labels] file in site.toml"
        )
    try:
        return read_table(path, (*KEY_COLUMNS, *KEY_COLUMNS.values(), value, *_OPTIONAL))
    except ArchiveError as error:
        raise LabelError(f"the labels cannot be read: {error}; see [labels] file") from None


def key_column(path: Path | None, table: Table, labels: Labels, value: str) -> tuple[str, str]:
    """Return the table's column that holds the key, and the task's name for it.

    Raises:
        LabelError: It has none, or no column ``value``.
    """
    others = _SAME_EXAM if labels.key in _SAME_EXAM else ()
    for key in (labels.key, *others):
        for column in (key, KEY_COLUMNS[key]):
            if column in table.columns and value in table.columns:
                return column, key
    raise LabelError(
        f"{path} lacks the column {value if value not in table.columns else labels.key}"
    )


def _spoiled(row: TableRow, key: str, trouble: dict[str, list[int]]) -> bool:
    """Note what is wrong with a row; return whether it cannot be used at all."""
    wrong = {
        "no key": not key,
        "rounded": rounded_by_spreadsheet(key),
        "side": row.get("laterality").upper() not in _SIDES,
        "date": bool(row.get("date")) and not _date(row.get("date")),
    }
    for name in (name for name, found in wrong.items() if found):
        trouble[name].append(row.line)
    return wrong["no key"] or wrong["rounded"] or wrong["side"]


def _vote(row: TableRow, text: str, labels: Labels, names: Pseudonyms, key: str) -> Vote:
    whole = text.removesuffix(".0") if key == "AccessionNumber" else text  # a number as a float
    numbers = with_zeros(whole) if key == "AccessionNumber" else iter(())
    spellings = dict.fromkeys((text, whole, *numbers))
    return Vote(
        keys=tuple(names.of(key, spelling) for spelling in spellings),
        value=labels.map[row.get(VALUE)],
        reader=row.get("reader"),
        source=row.get("source"),
        date=_date(row.get("date")),
        side=_SIDES[row.get("laterality").upper()],
    )


def _date(text: str) -> str:
    for form in _DATES:
        try:
            return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007  a date alone
        except ValueError:
            continue
    return ""


def _notes(trouble: dict[str, list[int]], votes: list[Vote]) -> Iterator[str]:
    for name, lines in trouble.items():
        if lines:
            where = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
            yield f"{len(lines)} rows of the labels {_TROUBLE[name]} (line {where})"
    again = Counter((vote.keys[0], vote.reader, vote.side, vote.date) for vote in votes)
    twice = sum(count > 1 for count in again.values())
    if twice:
        yield f"{twice} exams have several rows of one reader and date; each row counts once"
