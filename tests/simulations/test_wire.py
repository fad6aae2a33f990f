"""Counting identifiers in what left: the count can fail, and missing bytes are no zero."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_study import SITES

from fedrad.errors import DamagedStateError, RunError
from simulations import wire
from simulations.planted import Planted, write_planted
from simulations.wire import Wiretap, count, planted_values, recount

NAME = "Quelbornmora"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder with one hospital that has one patient."""
    rows = [Planted("east", 0, "family-name", NAME), Planted("east", 0, "patient-id", "PZ12345678")]
    write_planted(tmp_path / "sites" / "east" / "planted.csv", rows)
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_an_identifier_in_the_bytes_is_found_now_and_again(run: Path, encoding: str) -> None:
    tap = Wiretap(run, "east", keep=True)
    tap.record("0001-train", b"clean")
    tap.record("0002-train", b"\0\1" + NAME.upper().encode(encoding) + b"\2")
    for counts in (count(run), recount(run)):
        assert [(c.messages, c.planted, c.found) for c in counts] == [(2, 2, 1)]


def test_clean_bytes_count_zero(run: Path) -> None:
    Wiretap(run, "east", keep=True).record("0001-train", bytes(range(256)) * 50)
    assert [c.found for c in recount(run)] == [0]


def test_without_kept_bytes_a_recount_is_refused_instead_of_zero(run: Path) -> None:
    Wiretap(run, "east", keep=False).record("0001-train", NAME.encode())
    assert [c.found for c in count(run)] == [1]
    with pytest.raises(RunError, match="the bytes of east were not kept"):
        recount(run)


@pytest.mark.parametrize("spoil", ["deleted", "changed"])
def test_kept_bytes_that_are_not_those_recorded_are_refused(run: Path, spoil: str) -> None:
    Wiretap(run, "east", keep=True).record("0001-train", NAME.encode())
    path = run / wire.FOLDER / "east" / "0001-train.bin"
    path.unlink() if spoil == "deleted" else path.write_bytes(b"clean")
    with pytest.raises(DamagedStateError, match="missing or differs from what was recorded"):
        recount(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no simulated run in which a message left"):
        recount(tmp_path)


def test_every_message_of_a_real_run_was_recorded_and_none_holds_an_identifier(
    finished: Path,
) -> None:
    counts = recount(finished)
    assert [c.site for c in counts] == list(SITES)
    assert [c.messages for c in counts] == [4, 4, 4, 4]
    assert sum(c.found for c in counts) == 0
    assert min(c.planted for c in counts) > 200
    assert counts == count(finished)


def test_the_same_count_finds_an_identifier_slipped_into_a_real_message(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "sites" / "east", tmp_path / "sites" / "east")
    message = (finished / wire.FOLDER / "east" / "0001-train.bin").read_bytes()
    value = planted_values(finished, "east")[-1]
    spoiled = message[:500] + value.encode() + message[500:]
    Wiretap(tmp_path, "east", keep=True).record("0001-train", spoiled)
    assert [c.found for c in recount(tmp_path)] == [1]
