"""Scenarios of what comes after a release, from DICOM files to the row in ``alarms``."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.store import Store
from simulations.plan import Wishes, make_plan
from simulations.runner import run_plan
from simulations.screen import Screen


@pytest.mark.long
def test_a_new_scanner_ends_with_an_alarm_of_its_kind_at_its_site_and_window(
    tmp_path: Path,
) -> None:
    plan = make_plan("new_scanner", tmp_path / "run", Wishes(), engine="local", baselines=False)
    run_plan(plan, Screen(quiet=True))
    with Store(tmp_path / "run" / "run.sqlite") as store:
        (alarm,) = store.rows("alarms")
    assert (alarm["site"], alarm["kind"]) == ("Ashford", "acquisition")
    assert (alarm["since_window"], alarm["window"]) == ("2023-08-29", "2023-09-28")
    assert "PHILIPS" in alarm["evidence"]
