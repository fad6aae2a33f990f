"""A pause holds whatever the hours say, and is somebody's, for a reason."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from tiny_study import TinyStudy

from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, RunError
from site_client import pausing

NOON = datetime(2026, 3, 2, 12, 0).astimezone()


def test_a_paused_site_is_closed_until_it_is_resumed(study: TinyStudy) -> None:
    home, clock = study.home(), SystemClock()
    assert pausing.works_now(home, NOON)
    pausing.pause(home, by="Dr A", reason="visitors", clock=clock)
    assert not pausing.works_now(home, NOON)
    pausing.resume(home, by="Dr A", reason="gone", clock=clock)
    assert pausing.works_now(home, NOON)


def test_outside_the_hours_a_resumed_site_stays_closed(study: TinyStudy) -> None:
    path = study.home() / "site.toml"
    path.write_text(path.read_text().replace("[site]", '[site]\nhours = "22:00-06:00"'))
    assert not pausing.works_now(study.home(), NOON)


def test_nobody_and_no_reason_pause_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    for by, reason in (("", "why"), ("Dr A", " ")):
        with pytest.raises(RunError, match="for a reason"):
            pausing.pause(tmp_path, by=by, reason=reason, clock=SystemClock())
    assert pausing.paused(tmp_path) is None
    with pytest.raises(RunError, match="not paused"):
        pausing.resume(tmp_path, by="Dr A", reason="why", clock=SystemClock())


def test_a_damaged_pause_holds(study: TinyStudy) -> None:
    path = study.home() / "state/paused.json"
    path.write_text("{")
    assert not pausing.works_now(study.home(), NOON)
    with pytest.raises(DamagedStateError, match="stays paused"):
        pausing.paused(study.home())
    pausing.resume(study.home(), by="Dr A", reason="why", clock=SystemClock())
    assert pausing.works_now(study.home(), NOON)
