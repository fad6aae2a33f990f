"""A record comes back as it was written; anything else is refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import tiny_task

from fedrad.errors import DamagedStateError, SettingsError
from fedrad.feasibility.cells import layout
from fedrad.feasibility.record import (
    MOST_BYTES,
    MOST_PATIENTS,
    Record,
    as_bytes,
    parse_record,
    read_record,
)
from fedrad.privacy.mechanisms import GRID
from fedrad.task import task_hash

TASK = tiny_task()
SIZES = {name: len(cells) for name, cells in layout(TASK).items()}
numbers = st.integers(-int(MOST_PATIENTS / GRID), int(MOST_PATIENTS / GRID)).map(lambda n: n * GRID)


def record(**changes: Any) -> Record:
    made = Record(
        site="north",
        task_hash=task_hash(TASK),
        number=1,
        noise=7.04,
        patients=(3.5,) * SIZES["patients"],
        vendors=(3.5,) * SIZES["vendors"],
        views=(3.5,) * SIZES["views"],
        ledger_line="0" * 64,
        fedrad_version="0.1",
    )
    return replace(made, **changes)


def table(**changes: Any) -> bytes:
    """A record's JSON with some values changed, and the digest that it had."""
    return json.dumps(json.loads(as_bytes(record())) | changes).encode()


@given(st.data())
def test_whatever_may_be_written_is_read_back_and_short(data: st.DataObject) -> None:
    blocks = {
        name: tuple(data.draw(st.lists(numbers, min_size=size, max_size=size)))
        for name, size in SIZES.items()
    }
    written = record(site="x" * 64, fedrad_version="1" * 40, number=1000, **blocks)
    content = as_bytes(written)
    assert parse_record(content) == written
    assert len(content) <= MOST_BYTES


@given(st.binary(max_size=MOST_BYTES + 10))
def test_bytes_of_a_stranger_are_refused_and_break_nothing(content: bytes) -> None:
    with pytest.raises(SettingsError):
        parse_record(content)


@given(st.integers(0, len(as_bytes(record())) - 1), st.integers(0, 255))
def test_a_record_with_one_byte_changed_is_refused_or_the_same(place: int, byte: int) -> None:
    content = bytearray(as_bytes(record()))
    content[place] = byte
    try:
        assert parse_record(bytes(content)) == record()
    except SettingsError:
        return


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (as_bytes(record())[:-10], "no JSON object"),
        (b"[" * MOST_BYTES, "no JSON object"),
        (b" " * (MOST_BYTES + 1), "longer than 2048 bytes"),
        (b"[]", "no JSON object"),
        (as_bytes(record()).replace(b'{"', b'{"site":"other","', 1), "no JSON object"),
        (as_bytes(record()).replace(b"7.04", b"NaN"), "no JSON object"),
        (as_bytes(record()).replace(b"7.04", b"1e999"), "finite"),
        (as_bytes(record()).replace(b"7.04", b"9" * 400), "too large"),
        (as_bytes(record()).replace(b"7.04", b"8.04"), "its digest is not that of its content"),
        (table(patients="many"), "patients must be a list"),
        (table(patients=[True] * 9), "must be a number"),
        (table(patients=[]), "1 to 64 values"),
        (table(vendors=[1e9] * 17), "within 1e"),
        (table(views=[0.1] * 18), "multiples of"),
        (table(noise=0), "noise must lie between"),
        (table(noise=-1), "noise must lie between"),
        (table(names=["John"]), "not a known key"),
        (table(site="north\x1b[2J"), "letters, digits"),
        (table(site="../north"), "letters, digits"),
        (table(task_hash="x"), "64 hexadecimal"),
        (table(schema=2), "schema 1"),
        (table(vocabulary="mine"), "vocabulary must be"),
        (table(number=0), "number must lie"),
    ],
)
def test_a_record_that_no_site_writes_is_refused_by_name(content: bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_record(content)


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedStateError, match="cannot be read: No such file"):
        read_record(tmp_path / "none.json")
    path = tmp_path / "cut.json"
    path.write_bytes(as_bytes(record())[:100])
    with pytest.raises(DamagedStateError, match=r"cut\.json is no whole feasibility record"):
        read_record(path)


def test_the_noise_on_each_block_is_that_of_its_share() -> None:
    sigmas = [block.sigma for block in record().blocks(TASK)]
    assert sigmas == pytest.approx([7.04 / 0.6**0.5, 7.04 / 0.2**0.5, 7.04 / 0.2**0.5])


def test_a_record_of_another_task_or_with_other_cells_is_refused() -> None:
    with pytest.raises(SettingsError, match="not of tiny"):
        record(task_hash="1" * 64).blocks(TASK)
    with pytest.raises(SettingsError, match="other cells"):
        record(views=(0.0,)).blocks(TASK)
