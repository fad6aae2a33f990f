"""Machines and patients over time: what moved by more than noise, and what did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from window_patients import LAYOUT, THERE, patients, window

from aggregator.panels.tag_shares import headline, site_shares
from fedrad.shift.agreed import RECORD
from fedrad.shift.tags import counted
from fedrad.shift.windows import Released

NAMES = [RECORD, *(f"2024-{month:02d}-01" for month in range(1, 10))]


def windows(*, other_from: int) -> list[Released]:
    rng, found = np.random.default_rng(7), []
    for number, name in enumerate(NAMES):
        seen, labels = patients(rng)
        if number >= other_from:
            seen = replace(seen, tags=np.tile(counted(LAYOUT.tags, THERE), (len(labels), 1)))
        found.append(Released((name,), window(seen, labels, key=number).blocks))
    return found


def test_another_maker_moved_and_the_sentence_names_it(make_run: Any) -> None:
    told = {"north": windows(other_from=8), "south": windows(other_from=99)}
    found = site_shares(make_run(), told, LAYOUT)
    assert [one.title for one in found] == ["Hospital A", "Hospital B"]
    moved = {(s.tag, s.cell) for s in found[0].shares if s.moved}
    assert {("manufacturer", "SIEMENS"), ("manufacturer", "PHILIPS")} <= moved
    assert not [s for s in found[1].shares if s.moved]
    assert "Hospital A, manufacturer" in headline(found)
    assert headline(found[1:]).startswith("No share of a machine's tags")


def test_the_first_windows_are_the_reference_and_the_record_is_not_among_them(
    make_run: Any,
) -> None:
    (found,) = site_shares(make_run(), {"north": windows(other_from=99)}, LAYOUT)
    assert found.when == "2024-01-01 to 2024-06-01; last 2024-09-01"
    siemens = next(s for s in found.shares if s.cell == "SIEMENS")
    assert siemens.before > 0.9
    assert siemens.before_deviation < siemens.last_deviation
    assert len(siemens.line.split()) == len(NAMES)


def test_one_release_alone_has_no_last_window(make_run: Any) -> None:
    (found,) = site_shares(make_run(), {"north": windows(other_from=99)[:1]}, LAYOUT)
    assert all(share.last is None and not share.moved for share in found.shares)
    assert headline([found]) == "Nothing can have moved yet: each hospital told one release."
    assert headline([]) == ""
