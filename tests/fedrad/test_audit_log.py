"""The chained record: whatever is done to its lines afterwards is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad import audit_log
from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError


def written(folder: Path, lines: int) -> Path:
    path = folder / "audit.jsonl"
    for number in range(lines):
        audit_log.record(path, SystemClock(), "sent", round=number)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], bytes]:
    """The lines of a record of six, and its kept head."""
    path = written(tmp_path_factory.mktemp("record"), 6)
    return path.read_bytes().splitlines(keepends=True), audit_log.head_path(path).read_bytes()


def placed(folder: Path, lines: list[bytes], head: bytes) -> Path:
    path = folder / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    audit_log.head_path(path).write_bytes(head)
    return path


def test_a_whole_record_verifies_and_says_how_far_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    head = audit_log.verify(path)
    assert head == audit_log.Head(audit_log.read(path)[-1]["hash"], 3)
    assert audit_log.verify(written(tmp_path, 2), heads=(head.hash,)).lines == 5
    assert audit_log.verify(tmp_path / "none.jsonl") == audit_log.Head("", 0)


@given(data=st.data())
def test_any_change_removal_or_order_of_lines_is_found(
    tmp_path_factory: pytest.TempPathFactory, whole: tuple[list[bytes], bytes], data: st.DataObject
) -> None:
    lines, head = whole
    kind = data.draw(st.sampled_from(["remove", "swap", "repeat", "byte", "cut"]))
    a, b = sorted(data.draw(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True)))
    spoiled = list(lines)
    if kind == "remove":
        del spoiled[a]
    elif kind == "swap":
        spoiled[a], spoiled[b] = spoiled[b], spoiled[a]
    elif kind == "repeat":
        spoiled.insert(b, spoiled[a])
    elif kind == "cut":
        spoiled = spoiled[:b]
    else:
        at = data.draw(st.integers(0, len(lines[a]) - 2))
        changed = bytes([lines[a][at] ^ data.draw(st.integers(1, 127))])
        spoiled[a] = lines[a][:at] + changed + lines[a][at + 1 :]
    path = placed(tmp_path_factory.mktemp("spoiled"), spoiled, head)
    with pytest.raises(DamagedStateError):
        audit_log.verify(path)


def test_a_line_that_was_changed_and_sealed_again_breaks_the_next(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["round"] = 9
    lines[1]["hash"] = audit_log._hash({k: v for k, v in lines[1].items() if k != "hash"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DamagedStateError, match="line 3 does not follow"):
        audit_log.verify(path)


def test_a_cut_end_is_found_by_the_head_beside_it_and_stays_found(tmp_path: Path) -> None:
    path = written(tmp_path, 4)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(DamagedStateError, match="had 4 lines"):
        audit_log.verify(path)
    written(tmp_path, 3)  # grows on over the cut
    with pytest.raises(DamagedStateError, match="had 4 lines"):
        audit_log.verify(path)


def test_a_cut_end_is_found_by_a_head_on_paper_where_the_one_beside_it_was_forged(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 4)
    noted = audit_log.verify(path).hash
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    audit_log.head_path(path).unlink()
    assert audit_log.verify(path).lines == 2
    with pytest.raises(DamagedStateError, match="lacks the line with the hash"):
        audit_log.verify(path, heads=(noted,))


def test_a_torn_line_is_no_damage_and_a_head_that_lags_is_mended(tmp_path: Path) -> None:
    path = written(tmp_path, 2)
    lagging = audit_log.head_path(path).read_bytes()
    written(tmp_path, 1)
    audit_log.head_path(path).write_bytes(lagging)  # the crash came before the head
    with path.open("ab") as file:
        file.write(b'{"kind":"se')
    assert audit_log.verify(path).lines == 3
    written(tmp_path, 1)
    assert audit_log.verify(path).lines == 4
    assert json.loads(audit_log.head_path(path).read_bytes())["lines"] == 4


def test_a_line_longer_than_any_window_breaks_no_chain(tmp_path: Path) -> None:
    path = written(tmp_path, 1)
    for _ in range(2):
        audit_log.record(path, SystemClock(), "answered", study="x" * 400_000)
    assert audit_log.verify(written(tmp_path, 1)).lines == 4
