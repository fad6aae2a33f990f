"""Objections and consents, in every form that a hospital's list comes in."""

from typing import Any

import pandas as pd
import pytest

from fedrad.errors import ArchiveError, DataError
from site_client.catalogue import update_catalogue
from site_client.home import split_key
from site_client.patient_lists import known_patients, read_lists
from site_client.patients import read_register
from site_client.settings import read_site


def out(site: Any) -> dict[str, str]:
    table = update_catalogue(site.home)
    return {row.file: row.reason for row in table.itertuples() if row.reason}


def findings(site: Any) -> tuple[str, ...]:
    lists = read_site(site.home).patients
    register = read_register(lists, split_key(site.home))
    return read_lists(lists, known_patients(update_catalogue(site.home)), register).findings


@pytest.fixture
def listing(site: Any, site_toml: str) -> Any:
    """Write a list's bytes and name it in ``site.toml``."""

    def write(kind: str, content: str | bytes) -> None:
        path = site.home / f"{kind}.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        site.settings(f'{site_toml}[patients]\n{kind} = "{kind}.csv"\n')

    return write


@pytest.mark.parametrize(
    "content",
    ["P2\n", "PatientID\nP2\n", "reason;Patient ID\nobjéction;P2\n".encode("cp1252"),
     "\ufeffPatientID,date\r\n P2 ,2026-01-01\r\n", "patient_id\tnote\nP2\t\n".encode("utf-16")],
)  # fmt: skip
def test_an_objection_counts_in_any_spreadsheet_s_form(
    site: Any, listing: Any, content: str | bytes
) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    listing("exclude", content)
    assert out(site) == {"2.dcm": "patient-excluded"}
    assert findings(site) == ()


def test_only_who_consented_takes_part(site: Any, listing: Any) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    listing("include", "PatientID\nP1\nP9\n")
    assert out(site) == {"2.dcm": "patient-not-included"}
    assert findings(site) == ("include.csv line 3: no file of the archive has this PatientID",)


def test_an_objection_outranks_a_consent(site: Any, site_toml: str) -> None:
    site.image("P1", "1.dcm")
    (site.home / "in.txt").write_text("P1\n")
    site.settings(site_toml + '[patients]\nexclude = "in.txt"\ninclude = "in.txt"\n')
    assert out(site) == {"1.dcm": "patient-excluded"}


def test_an_objection_covers_every_number_of_a_mapped_patient(site: Any, site_toml: str) -> None:
    site.image("A1", "1.dcm")
    site.image("B1", "2.dcm")
    blank = site.image("", "3.dcm")
    (site.home / "who.csv").write_text(
        f"PatientID,StudyInstanceUID,patient\nA1,,7\nB1,,7\n,{blank.StudyInstanceUID},7\n"
    )
    for entry in ("PatientID\nB1\n", "patient\n7\n"):
        (site.home / "out.csv").write_text(entry)
        site.settings(site_toml + '[patients]\nmapping = "who.csv"\nexclude = "out.csv"\n')
        assert set(out(site)) == {"1.dcm", "2.dcm", "3.dcm"}


def test_lost_leading_zeros_are_put_back_and_said(site: Any, listing: Any) -> None:
    site.image("000123", "1.dcm")
    site.image("P2", "2.dcm")
    listing("exclude", "PatientID\n123\n")
    assert out(site) == {"1.dcm": "patient-excluded"}
    assert "line 2: leading zeros were lost" in findings(site)[0]
    listing("include", "PatientID\n123\n")
    assert out(site) == {"2.dcm": "patient-not-included"}


def test_a_number_that_fits_two_patients_excludes_both_and_includes_none(
    site: Any, listing: Any
) -> None:
    site.image("0123", "1.dcm")
    site.image("00123", "2.dcm")
    site.image("P3", "3.dcm", IssuerOfPatientID="A")
    site.image("P3", "4.dcm", IssuerOfPatientID="B")
    listing("exclude", "123\nP3\n")
    assert set(out(site)) == {"1.dcm", "2.dcm", "3.dcm", "4.dcm"}
    assert findings(site) == (
        "exclude.csv lines 1, 2: the PatientID fits several patients, all are left out",
    )
    listing("include", "123\nP3\n")
    assert set(out(site)) == {"1.dcm", "2.dcm", "3.dcm", "4.dcm"}
    assert "lines 1, 2: the PatientID fits several patients, so none is let in" in findings(site)[0]


def test_an_issuer_says_which_of_two_patients(site: Any, listing: Any) -> None:
    site.image("P3", "3.dcm", IssuerOfPatientID="A")
    site.image("P3", "4.dcm", IssuerOfPatientID="B")
    listing("include", "PatientID,IssuerOfPatientID\nP3,B\n")
    assert out(site) == {"3.dcm": "patient-not-included"}


def test_a_list_that_kept_its_zeros_is_taken_word_for_word(site: Any, listing: Any) -> None:
    site.image("0123", "1.dcm")
    site.image("123", "2.dcm")
    site.image("007", "3.dcm")
    listing("include", "PatientID\n123\n007\n")
    assert out(site) == {"1.dcm": "patient-not-included"}
    assert findings(site) == ()


def test_a_number_that_a_spreadsheet_rounded_is_named(site: Any, listing: Any) -> None:
    site.image("123456789012", "1.dcm")
    listing("exclude", "PatientID\n1.23457E+11\n")
    assert out(site) == {}
    assert "exclude.csv line 2: a spreadsheet rounded the number" in findings(site)[0]


def test_a_list_that_is_named_and_missing_lets_nobody_in_by_guessing(
    site: Any, site_toml: str
) -> None:
    site.image("P1", "1.dcm")
    site.settings(site_toml + '[patients]\nexclude = "gone.csv"\n')
    with pytest.raises(ArchiveError, match=r"gone\.csv cannot be read; correct its name"):
        update_catalogue(site.home)


def test_a_row_of_the_mapping_that_fits_no_file_is_named(site: Any, listing: Any) -> None:
    site.image("007", "1.dcm")
    listing("mapping", "PatientID,patient\n007,Bond\n7,Bond\n")
    assert findings(site) == ("mapping.csv line 3: no file of the archive has this PatientID",)


def test_a_mapping_that_contradicts_itself_is_refused(site: Any, listing: Any) -> None:
    listing("mapping", "PatientID,patient\nA,1\nA,1\nA,2\n")
    with pytest.raises(DataError, match="lines 2 and 4 give one PatientID two patients"):
        update_catalogue(site.home)


def test_no_finding_names_a_patient(site: Any, listing: Any) -> None:
    site.image("P1", "1.dcm")
    listing("exclude", "PatientID\n" + "\n".join(f"SECRET{n}" for n in range(30)))
    (said,) = findings(site)
    assert "SECRET" not in said
    assert said.startswith("exclude.csv lines 2, 3, 4,")
    assert "20, 21 and 10 more: no file" in said
    assert isinstance(update_catalogue(site.home), pd.DataFrame)
