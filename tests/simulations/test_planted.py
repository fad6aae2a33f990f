"""Planted identifiers: invented, distinctive, and found wherever they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrad.errors import DataError
from simulations.planted import (
    SHORTEST,
    Planted,
    invent_patient,
    invent_site,
    invent_uid,
    occurrences,
    read_planted,
    write_planted,
)

PATIENTS = [invent_patient("north", ordinal, 1) for ordinal in range(300)]
VALUES = tuple(value for patient in PATIENTS for _, value in patient.planted())


def test_every_identifier_is_long_enough_to_be_distinctive() -> None:
    values = [*VALUES, *(value for _, value in invent_site("north", 1).planted())]
    assert min(len(value) for value in values) >= SHORTEST
    assert len({patient.patient_id for patient in PATIENTS}) == len(PATIENTS)
    assert {patient.charset for patient in PATIENTS} == {"ISO_IR 100", "ISO_IR 192"}
    assert any(not patient.family.isascii() for patient in PATIENTS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_every_identifier_is_found_in_every_form(encoding: str, change: type[str]) -> None:
    for value in VALUES:
        content = b"\x07" * 5 + change(value).encode(encoding) + b"\xff" * 3
        assert occurrences(content, VALUES) == 1


def test_latin_names_are_found_as_latin_1() -> None:
    names = [p.family for p in PATIENTS if p.charset == "ISO_IR 100" and not p.family.isascii()]
    assert names
    assert all(occurrences(name.encode("latin-1"), VALUES) == 1 for name in names)


@given(st.lists(st.sampled_from(VALUES), max_size=20), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_places_are_counted_one_by_one_at_any_offset(found: list[str], offset: int) -> None:
    content = b"\x01" * offset + b"\x00|\x00".join(value.encode() for value in found)
    assert occurrences(content, VALUES) == len(found)


def test_random_bytes_floats_and_digests_hold_none() -> None:
    rng = np.random.default_rng(0)
    floats = rng.standard_normal(300_000).astype(np.float32)
    text = " ".join(map(repr, floats[:5000].astype(float).tolist())) + rng.bytes(50_000).hex()
    assert occurrences(floats.tobytes(), VALUES) == 0
    assert occurrences(text.encode(), VALUES) == 0


def test_a_birth_date_inside_a_longer_number_is_chance_and_not_counted() -> None:
    date = PATIENTS[0].birth_date
    for text, count in [(f'"{date}"', 1), (f"0.{date}", 0), (f"{date}7", 0), (f"a{date}", 0)]:
        assert occurrences(text.encode(), [date]) == count
        assert occurrences(text.encode("utf-16-be"), [date]) == count


def test_a_short_identifier_is_refused_as_not_distinctive() -> None:
    with pytest.raises(DataError, match="needs 8 characters, got 5"):
        occurrences(b"anything", ["Smith"])


def test_planted_rows_come_back_from_disk_as_written(tmp_path: Path) -> None:
    rows = tuple(Planted("nörth", p.ordinal, "family-name", p.family) for p in PATIENTS)
    write_planted(tmp_path / "planted.csv", rows)
    assert read_planted(tmp_path / "planted.csv") == rows


def test_a_missing_list_of_planted_identifiers_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"planted\.csv is missing"):
        read_planted(tmp_path / "planted.csv")


def test_uids_are_valid_and_fixed_by_their_names() -> None:
    from pydicom.uid import UID

    assert UID(invent_uid(1, "north", 3)).is_valid
    assert invent_uid(1, "north", 3) == invent_uid(1, "north", 3) != invent_uid(2, "north", 3)
