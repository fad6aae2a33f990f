"""The demo with fewer training patients: its report names the odd scanner, with the evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.store import Store
from simulations.hospital import HospitalSpec
from simulations.plan import Wishes, make_plan
from simulations.runner import run_plan
from simulations.screen import Screen

TRAINING, BEFORE = 30, 40  # patients of each hospital, and of those of the time before windows


@pytest.mark.long  # a minute of a processor: a small demo from files to report
def test_the_report_names_the_hospital_with_the_odd_scanner(tmp_path: Path) -> None:
    """Dunmore's machine is the noisy one; Birkdale allows too little to tell anything."""
    wishes = Wishes(rounds=1, settings=("training.expected_batch_patients=8",))
    plan = make_plan("four_hospitals", tmp_path / "run", wishes, engine="local", baselines=False)
    small = tuple(_smaller(one) for one in plan.scenario.hospitals)
    report = run_plan(
        replace(plan, scenario=replace(plan.scenario, hospitals=small)), Screen(quiet=True)
    )
    text = report.read_text(encoding="utf-8")
    assert "Hospital D (Dunmore) stands furthest apart in images: " in text
    assert "Hospital B (Birkdale) declined for the time before the windows" in text
    with Store(plan.run / "run.sqlite") as store:
        images = {
            row["site"]: row for row in store.rows("shifts", window="record", channel="image")
        }
        assert not store.rows("alarms")
    assert set(images) == {"Ashford", "Carrick", "Dunmore"}
    assert max(images, key=lambda site: images[site]["statistic"]) == "Dunmore"
    assert images["Dunmore"]["p"] < 1e-6


def _smaller(spec: HospitalSpec) -> HospitalSpec:
    periods = tuple(replace(period, patients=BEFORE) for period in spec.periods)
    return replace(spec, patients=TRAINING, periods=periods, several_share=0.0)
