"""Two ends compare their records: what differs is named, from whichever side one looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedrad import audit_log
from fedrad.audit_compare import Export, as_text, compare, export, read_export, write_export
from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, EnrolmentError


def note(path: Path, kind: str, number: int, *, site: str = "", **changes: object) -> None:
    said = {"study": "s", "round": number, "phase": "train", "digest": f"{number:064x}"}
    said |= {"bytes": 10 + number, "decision": "asked"} | changes
    where = {"site": site} if site else {}
    audit_log.record(path, SystemClock(), kind, **where, **said)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    """A site's record and the coordinator's of three rounds, with other things in between."""
    here, there = tmp_path / "site.jsonl", tmp_path / "hub.jsonl"
    for number in (1, 2, 3):
        note(there, "sent", number, site="east")
        note(there, "sent", number, site="west")
        note(here, "received", number)
        note(here, "answered", number)
        note(here, "sent", number, digest="f" * 64)
        note(there, "received", number, site="east", digest="f" * 64)
        note(here, "sent", number, study="another")
    return here, there


def both(ends: tuple[Path, Path]) -> tuple[Export, Export]:
    return (
        export(ends[0], end="site", site="east", study="s"),
        export(ends[1], end="coordinator", site="east", study="s"),
    )


def test_two_honest_ends_agree_whoever_looks(ends: tuple[Path, Path], tmp_path: Path) -> None:
    site, hub = both(ends)
    write_export(tmp_path / "e.json", hub)
    for found in (compare(site, read_export(tmp_path / "e.json")), compare(hub, site)):
        assert (found.same, found.only_here, found.only_there) == (6, (), ())
    assert site.head == audit_log.verify(ends[0]).hash


def test_a_message_that_one_end_denies_or_saw_otherwise_is_named(ends: tuple[Path, Path]) -> None:
    note(ends[0], "received", 4)  # the coordinator does not admit that it asked
    note(ends[1], "received", 5, site="east", digest="e" * 64)  # the site never sent that
    note(ends[0], "sent", 6)
    note(ends[1], "received", 6, site="east", bytes=999)
    found = compare(*both(ends))
    assert [one.round for one in found.only_here] == [4, 6]
    assert [one.round for one in found.only_there] == [5, 6]
    text = as_text(found)
    assert "only here: round 4, train, to-site" in text
    assert "only there: round 5, train, to-coordinator" in text


def test_a_message_that_came_twice_at_one_end_is_one_too_many(ends: tuple[Path, Path]) -> None:
    note(ends[1], "received", 3, site="east", digest="f" * 64)
    found = compare(*both(ends))
    assert (len(found.only_here), len(found.only_there)) == (0, 1)


def test_a_spoiled_record_is_not_exported(ends: tuple[Path, Path]) -> None:
    ends[0].write_bytes(ends[0].read_bytes().replace(b'"bytes":12', b'"bytes":13'))
    with pytest.raises(DamagedStateError, match="was changed"):
        both(ends)


def test_exports_of_one_end_or_of_other_studies_are_not_compared(ends: tuple[Path, Path]) -> None:
    site, hub = both(ends)
    with pytest.raises(EnrolmentError, match="both exports are the site's"):
        compare(site, site)
    other = export(ends[1], end="coordinator", site="west", study="s")
    with pytest.raises(EnrolmentError, match="there 'west'"):
        compare(site, other)
    assert len(hub.messages) == 6


@pytest.mark.parametrize("change", [{"schema": 2}, {"messages": [{}]}, {"more": 1}, {"lines": "3"}])
def test_a_strangers_export_is_read_strictly(
    ends: tuple[Path, Path], tmp_path: Path, change: dict
) -> None:
    path = tmp_path / "e.json"
    write_export(path, both(ends)[0])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EnrolmentError, match="no export"):
        read_export(path)
