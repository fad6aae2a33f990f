"""A site's windows become rows: what changed, since when, and nothing for what was not read."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from window_patients import LAYOUT, THERE, patients, window

from aggregator.shifts import history_of, rows
from aggregator.store import Store
from aggregator.tables import Alarm, Shift, Table
from fedrad.errors import DataError
from fedrad.shift.blocks import Layout
from fedrad.shift.tags import counted
from fedrad.shift.windows import Calendar, Released

MONTHS = Calendar(begins=date(2026, 1, 1), days=30)
NAMES = [MONTHS.window(number).name for number in range(14)]


def shift_rows(site: str, windows: list[Released], layout: Layout) -> list[Table]:
    """The rows of one site alone."""
    history = history_of(site, [windows], layout)
    return rows({site: history})[0] if history else []


def releases(changed: int, kind: str) -> list[Released]:
    """Ten unchanged windows at most, then windows of a kind."""
    rng, found = np.random.default_rng(5), []
    for number, name in enumerate(NAMES):
        late = number >= changed
        seen, labels = patients(
            rng,
            brighter=0.4 if late and kind == "scanner" else 0.0,
            positives=0.6 if late and kind == "prevalence" else 0.3,
        )
        if late and kind == "scanner":
            seen = replace(seen, tags=np.tile(counted(LAYOUT.tags, THERE), (len(labels), 1)))
        found.append(Released((name,), window(seen, labels, key=number).blocks))
    return found


@pytest.mark.parametrize(("kind", "says"), [("scanner", "acquisition"), ("prevalence", "label")])
def test_a_change_becomes_an_alarm_with_its_date_and_evidence(
    kind: str, says: str, tmp_path: Path
) -> None:
    rows = shift_rows("Ashford", releases(10, kind), LAYOUT)
    with Store(tmp_path / "run.sqlite") as store:
        store.record(rows)
        (alarm,) = store.rows("alarms")
        shifts = store.frame("shifts")
    assert (alarm["kind"], alarm["since_window"], alarm["window"]) == (says, NAMES[10], NAMES[11])
    assert "over the threshold" in alarm["evidence"]
    assert len(shifts) == 8 * 5
    early = shifts[shifts["window"] < NAMES[10]]
    assert (early["cusum"] <= early["threshold"]).all()


def test_unchanged_windows_raise_nothing_and_the_reference_has_no_row() -> None:
    rows = shift_rows("Ashford", releases(99, ""), LAYOUT)
    assert not [row for row in rows if isinstance(row, Alarm)]
    assert {row.window for row in rows if isinstance(row, Shift)} == set(NAMES[6:])
    assert shift_rows("Ashford", releases(99, "")[:6], LAYOUT) == []


def test_a_replayed_or_misplaced_window_is_refused() -> None:
    whole = releases(99, "")
    for wrong in ([*whole, whole[-1]], whole[::-1]):
        with pytest.raises(DataError, match="out of order or twice"):
            shift_rows("Ashford", wrong, LAYOUT)


def test_small_windows_are_joined_before_they_are_read() -> None:
    rng = np.random.default_rng(6)
    small = [
        Released((name,), window(*patients(rng, size=30), key=k, sigma=1.0).blocks)
        for k, name in zip(range(99), NAMES, strict=False)
    ]
    names = {row.window for row in shift_rows("Ashford", small, LAYOUT) if isinstance(row, Shift)}
    assert names < set(NAMES)
    assert len(names) < len(NAMES) - 6
    assert all(a != b for a, b in itertools.pairwise(sorted(names)))
