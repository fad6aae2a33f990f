"""An alarm is read with all that was released since its change, and says why it has no drop."""

from __future__ import annotations

import numpy as np
import pytest
from window_patients import LAYOUT, patients

from aggregator.diagnoses import diagnosed
from aggregator.shifts import History, history_of
from aggregator.tables import Alarm
from fedrad.privacy.mechanisms import noise_source
from fedrad.shift.blocks import images_window, labels_window
from fedrad.shift.windows import Released
from fedrad.site_report import noised

NAMES = [f"2026-{month:02d}-01" for month in range(1, 13)]
CHANGED = 9  # windows from here on have another share of positives, or labels turned over


def told_apart(kind: str, *, labelled: int) -> History:
    """Windows whose labels come later, those of the first ``labelled`` so far."""
    rng = np.random.default_rng(5)
    images, later = [], []
    for number, name in enumerate(NAMES):
        changed = number >= CHANGED
        seen, labels = patients(rng, positives=0.65 if changed and kind == "label" else 0.3)
        if changed and kind == "concept":
            labels = np.where(rng.uniform(size=len(labels)) < 0.4, 1 - labels, labels)
        source = noise_source(number.to_bytes(32, "big"))
        images.append(Released((name,), noised(images_window(seen, LAYOUT), sigma=1.5, rng=source)))
        told = labels_window(seen.scores, labels, LAYOUT, population=seen.population)
        later.append(Released((name,), noised(told, sigma=1.5, rng=source)))
    found = history_of("a", [images, later[:labelled]], LAYOUT)
    assert found is not None
    return found


ALARM = Alarm(
    window=NAMES[-1], site="a", channel="label", kind="label", since_window=NAMES[CHANGED],
    posterior=None, evidence="positive: 30 % before, 65 % now",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["label", "concept"])
def test_labels_that_came_later_are_read_with_their_images(kind: str) -> None:
    found = diagnosed(ALARM, told_apart(kind, labelled=12), LAYOUT, seed=1)
    assert found.alarm.kind == kind
    assert found.alarm.posterior == pytest.approx(found.detail["posterior"][kind])
    assert found.alarm.evidence.startswith(ALARM.evidence)
    parts = {part["name"]: part["value"] for part in found.detail["drop"]["parts"]}
    assert (parts["concept"] > 0.02) == (kind == "concept")


def test_before_the_labels_nothing_is_said_of_them() -> None:
    early = told_apart("label", labelled=8)
    found = diagnosed(ALARM, early, LAYOUT, seed=1)
    assert found.detail["posterior"]["label"] == found.detail["posterior"]["concept"] == 0.0
    assert (found.detail["drop"], found.detail["why"]) == (None, "no table of labels was released")
