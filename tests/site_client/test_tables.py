"""Tables that people wrote: every spreadsheet's way of spoiling them."""

from pathlib import Path

import pytest

from fedrad.errors import ArchiveError
from site_client.tables import read_table, rounded_by_spreadsheet, with_zeros

COLUMNS = ("PatientID", "IssuerOfPatientID")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_header_is_found_whatever_the_spreadsheet(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    lines = [["reason", "Patient ID"], ["später, dann", "Ä1"], ["", ""], ["", "B2"]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "list.csv", COLUMNS)
    assert (table.columns, table.headed) == (("PatientID",), True)
    assert [(row.line, row.get("PatientID")) for row in table.rows] == [(2, "Ä1"), (4, "B2")]


def test_a_plain_list_has_one_value_a_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("A1\n\n  B2 \nC3,withdrew in May\n")
    table = read_table(tmp_path / "list.txt", COLUMNS)
    assert not table.headed
    assert [(row.line, row.get("PatientID")) for row in table.rows] == [
        (1, "A1"), (3, "B2"), (4, "C3"),
    ]  # fmt: skip


def test_an_empty_file_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("")
    assert read_table(tmp_path / "list.txt", COLUMNS).rows == ()


def test_what_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"list\.csv cannot be read; correct its name"):
        read_table(tmp_path / "list.csv", COLUMNS)
    (tmp_path / "list.csv").write_bytes(b"PK\x03\x04\0\0\x81\x8d")
    with pytest.raises(ArchiveError, match=r"cannot be read as text; save it as CSV"):
        read_table(tmp_path / "list.csv", COLUMNS)
    (tmp_path / "list.csv").write_text("PatientID\n" + "1" * 200_000)
    with pytest.raises(ArchiveError, match=r"line 2 of a list is no row"):
        read_table(tmp_path / "list.csv", COLUMNS)


def test_a_quoted_line_break_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('note,PatientID\n"two\nlines",A1\n,B2\n')
    rows = read_table(tmp_path / "list.csv", COLUMNS).rows
    assert [(row.line, row.get("PatientID")) for row in rows] == [(2, "A1"), (4, "B2")]


def test_a_number_s_lost_zeros_and_lost_digits() -> None:
    assert list(with_zeros("12"))[:2] == ["012", "0012"]
    assert list(with_zeros("A12")) == list(with_zeros("1" * 16)) == []
    assert rounded_by_spreadsheet("1.23457E+11")
    assert rounded_by_spreadsheet("1,2E+09")
    assert not rounded_by_spreadsheet("E+")
    assert not rounded_by_spreadsheet("PATE+1")
