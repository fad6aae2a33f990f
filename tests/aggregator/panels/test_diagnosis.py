"""What an alarm probably is: read from its event, drawn in order, said in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aggregator.panels.diagnosis import WIDTH, diagnoses

POSTERIOR = {
    "image": 0.02, "acquisition": 0.03, "label": 0.10, "concept": 0.60,
    "population": 0.05, "none": 0.15, "unknown": 0.05,
}  # fmt: skip
PARTS = [
    {"name": "label", "value": 0.01, "lo": -0.01, "hi": 0.03},
    {"name": "covariate", "value": -0.02, "lo": -0.04, "hi": 0.0},
    {"name": "concept", "value": 0.10, "lo": 0.06, "hi": 0.14},
    {"name": "unexplained", "value": 0.01, "lo": None, "hi": None},
]
DROP = {"metric": "brier", "before": 0.12, "after": 0.22, "parts": PARTS}


def event(**changed: Any) -> dict[str, Any]:
    detail = {
        "window": "2024-09-28", "site": "north", "channel": "concept", "since": "2024-08-29",
        "posterior": POSTERIOR, "drop": DROP,
    }  # fmt: skip
    return {"kind": "diagnosis", "detail_json": json.dumps(detail | changed)}


def test_the_two_likeliest_kinds_are_named_with_their_probabilities(make_run: Any) -> None:
    (found,) = diagnoses(make_run(events=[event()]))
    assert found.title == "Hospital A (north), window of 2024-09-28"
    assert "2024-08-29 most likely: labels mean something else (60 %)" in found.sentence
    assert found.sentence.endswith("then no change (15 %).")
    assert [bar.said for bar in found.kinds][:2] == ["60 %", "15 %"]
    assert len(found.kinds) == len(POSTERIOR)


def test_the_parts_of_a_drop_follow_one_another_and_add_up(make_run: Any) -> None:
    (found,) = diagnoses(make_run(events=[event()]))
    label, covariate, concept, unexplained, whole = found.drop
    assert covariate.x + covariate.width == pytest.approx(label.x + label.width, abs=0.2)
    assert concept.x == pytest.approx(covariate.x, abs=0.2)
    assert whole.said == "+0.100"
    assert unexplained.lo is None
    assert all(0 <= bar.x <= bar.x + bar.width <= WIDTH for bar in found.drop)
    assert "Brier score 0.120 before, 0.220 now, worse" in found.drop_sentence
    assert "labels mean something else +0.100, images and patients −0.020" in found.drop_sentence


def test_without_labels_there_is_no_drop_and_a_reason(make_run: Any) -> None:
    row = event(drop=None, why="the window's labels are not there yet")
    (found,) = diagnoses(make_run(events=[row]))
    assert found.drop == ()
    assert (
        found.drop_sentence
        == "What it costs is not estimable: the window's labels are not there yet."
    )


def test_the_last_diagnosis_of_a_channel_counts(make_run: Any) -> None:
    sure = dict.fromkeys(POSTERIOR, 0.01) | {"concept": 0.94}
    (found,) = diagnoses(make_run(events=[event(), event(posterior=sure)]))
    assert found.sentence.endswith("labels mean something else (94 %).")
    assert diagnoses(make_run()) == ()
