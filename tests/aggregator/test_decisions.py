"""Which run a person's decision is about, and where it is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.decisions import Decider, place_of
from aggregator.store import Store
from fedrad.errors import RunError, SettingsError


def home_with(folder: Path, *studies: str) -> Path:
    for study in studies:
        (folder / "studies" / study).mkdir(parents=True)
        (folder / "studies" / study / "study.json").write_text("{}")
        Store(folder / "runs" / study / "run.sqlite").close()
    return folder


def test_the_only_study_of_a_home_is_meant_and_the_homes_record_takes_it(tmp_path: Path) -> None:
    place = place_of(home_with(tmp_path, "lungs"), "", None)
    assert place.folder == tmp_path / "runs" / "lungs"
    assert place.audit == tmp_path / "audit.jsonl"


def test_one_of_several_studies_is_named(tmp_path: Path) -> None:
    home = home_with(tmp_path, "lungs", "nodules")
    assert place_of(home, "nodules", None).folder == tmp_path / "runs" / "nodules"
    with pytest.raises(SettingsError, match="name one; there are: lungs, nodules"):
        place_of(home, "", None)


def test_a_simulated_run_keeps_the_record_itself(tmp_path: Path) -> None:
    Store(tmp_path / "run.sqlite").close()
    assert place_of(None, "", tmp_path).audit == tmp_path / "messages.jsonl"


@pytest.mark.parametrize("both", [True, False])
def test_a_home_and_a_run_are_not_meant_at_once(tmp_path: Path, both: bool) -> None:
    given = tmp_path if both else None
    with pytest.raises(SettingsError, match="name either"):
        place_of(given, "", given)


def test_a_run_without_a_round_has_nothing_to_decide(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no round was asked yet"):
        place_of(None, "", tmp_path)


@pytest.mark.parametrize(("by", "reason"), [(" ", "because"), ("Dr Lee", "")])
def test_a_decision_has_a_person_and_a_reason(by: str, reason: str) -> None:
    with pytest.raises(RunError, match="a person decides, for a reason"):
        Decider(by=by, reason=reason)
