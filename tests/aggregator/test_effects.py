"""What an accepted action did is read off later releases, and off nothing before there are any."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from window_patients import LAYOUT, patients, window

from aggregator.effects import _said, of_others, parameters, recalibrated
from aggregator.shifts import History, history_of
from aggregator.store import Store
from aggregator.tables import Action, Alarm
from fedrad.metrics.metric import Interval
from fedrad.shift.recalibration import Effect
from fedrad.shift.windows import Released


def history(windows: int) -> History:
    """Windows at a site whose scores are far too high, after six that make its reference."""
    rng, found = np.random.default_rng(5), []
    for number in range(windows):
        seen, labels = patients(rng)
        seen = replace(seen, scores=np.clip(seen.scores + 0.3, 0, 1))
        name = f"2026-{number + 1:02d}-01"
        found.append(Released((name,), window(seen, labels, key=number).blocks))
    own = history_of("a", [found], LAYOUT)
    assert own is not None
    return own


def alarm(own: History) -> Alarm:
    return Alarm(
        window=own.names[1], site="a", channel="label", kind="label",
        since_window=own.names[0], posterior=0.9, evidence="",
    )  # fmt: skip


def accepted(own: History, made: dict[str, float]) -> Action:
    return Action(
        round=1, window=alarm(own).window, site="a", action="recalibrate",
        parameters_json=json.dumps(made), reason="", decided_by="Dr. Test",
        decision="accepted", effect="noted",
    )  # fmt: skip


def test_a_recalibration_says_what_it_does_to_later_windows_alone(tmp_path: Path) -> None:
    own = history(11)
    made = parameters(own, alarm(own), LAYOUT)
    assert made["intercept"] < 0
    with Store(tmp_path / "run.sqlite") as store:
        store.record([accepted(own, made)])
        (row,) = recalibrated(store, 1, {"a": own}, layout=LAYOUT, seed=1)
    assert row.decision == "accepted"
    assert row.effect.startswith("in 3 later windows (")
    errors = [float(part.split("calibration error ")[-1].split(" ")[0]) for part in [row.effect]]
    with_it = float(row.effect.split("without it, ")[1].split(" ")[0])
    assert with_it < errors[0]


def test_what_cannot_be_estimated_is_said_and_is_no_number() -> None:
    gone, known = Interval(math.nan, math.nan, math.nan), Interval(0.1, 0.05, 0.2)
    said = _said(Effect(80.0, (gone, known), (known, known)), ["2026-01-01"])
    assert "calibration error not estimable without it, 0.100 [0.050, 0.200] with it" in said
    assert "nan" not in said


def test_without_a_later_window_nothing_is_said(tmp_path: Path) -> None:
    own = history(8)
    with Store(tmp_path / "run.sqlite") as store:
        store.record([accepted(own, parameters(own, alarm(own), LAYOUT))])
        assert list(recalibrated(store, 1, {"a": own}, layout=LAYOUT, seed=1)) == []


def test_a_recalibration_of_one_model_is_not_measured_on_windows_of_another(
    tmp_path: Path,
) -> None:
    own = history(11)
    with Store(tmp_path / "run.sqlite") as store:
        store.record([accepted(own, parameters(own, alarm(own), LAYOUT))])
        assert list(recalibrated(store, 9, {"a": own}, layout=LAYOUT, seed=1)) == []


def test_the_others_figures_say_what_setting_a_site_aside_did() -> None:
    rows = [
        {"round": number, "site": site, "value": value}
        for number, site, value in (
            (2, "a", 0.9), (2, "b", 0.7), (2, "c", 0.9), (2, "macro", 0.1),
            (4, "b", 0.8), (4, "c", 0.9), (4, "*", 0.2),
        )
    ]  # fmt: skip
    assert "0.800 at the release of round 2, 0.850 at that of round 4" in of_others(
        rows, "a", 3, "AUROC"
    )
    assert "not measured yet" in of_others(rows, "a", 4, "AUROC")
