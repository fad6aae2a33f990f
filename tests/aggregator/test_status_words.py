"""What ``status`` says of a study whose run is in trouble."""

from __future__ import annotations

from aggregator.deployment_commands import _study_line


def test_a_quarantine_and_a_model_that_was_set_back_are_named() -> None:
    study = {"study": "lungs", "round": 4, "rounds": 9, "stands_on": 2, "quarantined": ["north"]}
    assert _study_line(study).splitlines() == [
        "study lungs: round 4 of 9",
        "  -> it stands on the model of round 2; the report says why",
        "  -> in quarantine: north (fedrad-aggregator lift)",
    ]
    quiet = study | {"stands_on": 4, "quarantined": []}
    assert _study_line(quiet) == "study lungs: round 4 of 9"
