"""Scenarios of what comes after a release, from DICOM files to the row in ``alarms``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator.store import Store
from simulations.plan import Wishes, make_plan
from simulations.runner import run_plan
from simulations.screen import Screen


@pytest.mark.long
def test_a_new_scanner_ends_with_an_alarm_of_its_kind_at_its_site_and_window(
    tmp_path: Path,
) -> None:
    (alarm,) = alarms_of("new_scanner", tmp_path / "run")
    assert (alarm["site"], alarm["kind"]) == ("Ashford", "acquisition")
    assert (alarm["since_window"], alarm["window"]) == ("2023-08-29", "2023-09-28")
    assert "PHILIPS" in alarm["evidence"]


@pytest.mark.long
def test_a_jump_of_prevalence_ends_with_an_alarm_of_its_kind_at_its_site_and_window(
    tmp_path: Path,
) -> None:
    (alarm,) = alarms_of("prevalence_jump", tmp_path / "run")
    assert (alarm["site"], alarm["kind"]) == ("Ashford", "label")
    assert (alarm["since_window"], alarm["window"]) == ("2023-08-29", "2023-09-28")


@pytest.mark.long
def test_another_reader_ends_with_an_alarm_of_its_kind_at_its_site_and_window(
    tmp_path: Path,
) -> None:
    (alarm,) = alarms_of("annotator_drift", tmp_path / "run")
    assert (alarm["site"], alarm["kind"]) == ("Ashford", "concept")
    assert (alarm["since_window"], alarm["window"]) == ("2023-08-29", "2023-09-28")
    assert "as before: images" in alarm["evidence"]


@pytest.mark.long
def test_one_bad_month_ends_with_a_note_and_no_alarm(tmp_path: Path) -> None:
    assert not alarms_of("one_bad_window", tmp_path / "run")
    with Store(tmp_path / "run" / "run.sqlite") as store:
        looked = [row for row in store.rows("events") if row["kind"] == "shift-looked"]
    assert "2023-08-29 image: " in looked[-1]["detail_json"]


def alarms_of(name: str, run: Path) -> list[dict[str, Any]]:
    """Run a scenario and return its alarms."""
    plan = make_plan(name, run, Wishes(), engine="local", baselines=False)
    run_plan(plan, Screen(quiet=True))
    with Store(run / "run.sqlite") as store:
        return store.rows("alarms")
