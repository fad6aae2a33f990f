"""The site's own record: chained, whole after a crash, safe with two writers."""

from __future__ import annotations

import hashlib
from multiprocessing import get_context
from pathlib import Path

from fedrad.clock import SystemClock
from fedrad.durable import canonical_json
from site_client import audit


def note(home: Path, count: int = 1) -> None:
    for number in range(count):
        audit.record(home, SystemClock(), "answered", round=number)


def chained(lines: list[dict]) -> bool:
    hashes = [line["hash"] for line in lines]
    own = [
        hashlib.sha256(canonical_json({k: v for k, v in line.items() if k != "hash"})).hexdigest()
        for line in lines
    ]
    return own == hashes and [line["prev"] for line in lines] == ["", *hashes[:-1]]


def test_each_line_carries_the_hash_of_the_one_before(tmp_path: Path) -> None:
    note(tmp_path, 3)
    lines = audit.read(tmp_path)
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert chained(lines)


def test_a_site_that_never_answered_has_an_empty_record(tmp_path: Path) -> None:
    assert audit.read(tmp_path) == []


def test_a_torn_last_line_is_left_out_and_the_chain_goes_on(tmp_path: Path) -> None:
    note(tmp_path, 2)
    with (tmp_path / audit.NAME).open("ab") as file:
        file.write(b'{"kind":"answ')
    assert len(audit.read(tmp_path)) == 2
    note(tmp_path)
    assert len(audit.read(tmp_path)) == 3
    assert chained(audit.read(tmp_path))


def test_two_processes_make_one_chain(tmp_path: Path) -> None:
    writers = [get_context("fork").Process(target=note, args=(tmp_path, 20)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = audit.read(tmp_path)
    assert len(lines) == 40
    assert chained(lines)


def test_the_record_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    note(tmp_path)
    assert (tmp_path / audit.NAME).stat().st_mode & 0o777 == 0o600
