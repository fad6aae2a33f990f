"""Patients are dealt to splits by a keyed hash of themselves alone."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import ArchiveError, DataError
from site_client.patients import patient_key, read_register, slot, split_of
from site_client.settings import PatientLists, Shares

KEY = b"k" * 32
names = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.strip(" \t\r\n\0")
)


def dealt(patients: list[str]) -> dict[str, str]:
    register = read_register(PatientLists(), KEY)
    return {name: split_of(register.patient(name).slot, Shares()) for name in patients}


@given(st.lists(names, unique=True), names)
def test_adding_one_patient_moves_nobody_else(patients: list[str], newcomer: str) -> None:
    before = dealt(patients)
    after = dealt([newcomer, *patients])
    assert {name: after[name] for name in patients} == before


def test_splits_have_the_shares_that_were_asked_for() -> None:
    counts = Counter(dealt([f"P{i}" for i in range(10_000)]).values())
    shares = [counts[name] / 10_000 for name in ("train", "audit", "window", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.10, 0.05], abs=0.015)


@given(st.integers(0, 999))
def test_every_slot_belongs_to_a_split_with_a_share(number: int) -> None:
    assert split_of(number, Shares(train=0.0, audit=1.0, window=0.0, test=0.0)) == "audit"
    halves = Shares(train=0.5, audit=0.0, window=0.0, test=0.5)
    assert split_of(number, halves) == ("train" if number < 500 else "test")


def test_two_hospitals_deal_the_same_patient_independently() -> None:
    here = [slot(KEY, patient_key(f"P{i}")) for i in range(100)]
    there = [slot(b"j" * 32, patient_key(f"P{i}")) for i in range(100)]
    assert sum(a == b for a, b in zip(here, there, strict=True)) < 5


def test_padding_does_not_make_a_new_patient_but_another_issuer_does() -> None:
    register = read_register(PatientLists(), KEY)
    assert register.patient(" P1\0") == register.patient("P1")
    assert register.patient("P1", "A") != register.patient("P1", "B")


@pytest.mark.parametrize("name", ["", "   ", "\0\0"])
def test_an_image_of_nobody_has_no_patient(name: str) -> None:
    with pytest.raises(DataError, match="without PatientID"):
        patient_key(name)


def test_a_mapping_file_joins_two_numbers_of_one_patient(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    mapping.write_text("PatientID,IssuerOfPatientID,patient\nA1,X,7\nB1,,7\n")
    register = read_register(PatientLists(mapping=mapping), KEY)
    first, second = register.patient("A1", "X"), register.patient("B1", "Y")
    assert (first.pseudonym, first.slot) == (second.pseudonym, second.slot)
    assert register.patient("A1", "Y").pseudonym != first.pseudonym


def test_a_mapping_that_is_missing_or_incomplete_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"mapping\.csv cannot be read"):
        read_register(PatientLists(mapping=tmp_path / "mapping.csv"), KEY)
    (tmp_path / "mapping.csv").write_text("PatientID\nA1\n")
    with pytest.raises(DataError, match="PatientID and patient"):
        read_register(PatientLists(mapping=tmp_path / "mapping.csv"), KEY)
