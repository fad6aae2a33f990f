"""Before the labels of a window are told, its scores say how many are positive, if it is quiet."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from test_hostile_windows import watched_task
from tiny_federation import tiny_setup
from window_patients import LAYOUT, patients

from aggregator.judging import judge
from aggregator.shifts import History, history_of
from aggregator.store import Store, report_rows
from aggregator.unlabelled import notes
from aggregator.windows import Promoted
from fedrad.monitoring import Monitoring
from fedrad.privacy.mechanisms import noise_source
from fedrad.shift.blocks import images_window, labels_window
from fedrad.shift.windows import Released
from fedrad.site_report import noised

WINDOWS, SHARE = 9, 0.55


def told(*, labelled: int, brighter: float = 0.0) -> tuple[list[Released], list[Released]]:
    """Nine windows at a site, of which the first have their labels; the last is not as before."""
    images, labels = [], []
    for number in range(WINDOWS):
        rng, last = np.random.default_rng(number), number == WINDOWS - 1
        share, more = (SHARE, brighter) if last else (0.3, 0.0)
        seen, truth = patients(rng, size=300, positives=share, brighter=more)
        name = (f"2026-{number + 1:02d}-01",)
        later = labels_window(seen.scores, truth, LAYOUT, population=seen.population)
        for kind, blocks in ((images, images_window(seen, LAYOUT)), (labels, later)):
            noise = noise_source(bytes([number]) * 32)
            kind.append(Released(name, noised(blocks, sigma=2.0, rng=noise)))
    return images, labels[:labelled]


def history(*, labelled: int, brighter: float = 0.0) -> History:
    own = history_of("a", told(labelled=labelled, brighter=brighter), LAYOUT)
    assert own is not None
    return own


def said(own: History) -> dict[str, str]:
    return notes({"a": own}, LAYOUT, seed=1)


def test_a_window_without_labels_says_its_share_of_positives() -> None:
    note = said(history(labelled=WINDOWS - 1))["a"]
    assert note.startswith("2026-09-01 label: its labels are to come; by its scores ")
    _, low, high, before = map(float, re.findall(r"0\.\d\d", note))
    assert 0.3 < low < SHARE < high
    assert abs(before - 0.3) < 0.05


def test_where_images_changed_nothing_is_said_of_labels() -> None:
    assert said(history(labelled=WINDOWS - 1, brighter=0.4)) == {}


def test_told_labels_and_too_few_of_them_leave_nothing_to_say() -> None:
    assert said(history(labelled=WINDOWS)) == {}
    assert said(history(labelled=5)) == {}


def test_it_stands_among_the_notes_of_a_look(tmp_path: Path) -> None:
    watched = Monitoring(begins="2026-01-01", days=30, labels="later")
    setup = tiny_setup(tmp_path, replace(watched_task(), monitoring=watched))
    with Store(tmp_path / "run.sqlite") as store:
        for kind in told(labelled=WINDOWS - 1):
            for one in kind:
                told_for = {"model_digest": "m", "window": one.windows[0]}
                store.record(report_rows(3, "a", blocks=one.blocks, **told_for))
        judge(setup, store, Promoted(3, "m"))
        (look,) = store.rows("events", kind="shift-looked")
    assert "its labels are to come" in " ".join(json.loads(look["detail_json"])["notes"]["a"])
