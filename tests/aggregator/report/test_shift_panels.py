"""What a reader is told of windows: which hospital, what kind, since when, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.report import write_report
from aggregator.store import Store
from aggregator.tables import Alarm, Run, Shift, Site

WINDOWS = ("2024-01-01", "2024-01-31", "2024-03-01")


def shift(window: str, z: float, *, cusum: float) -> Shift:
    return Shift(
        window=window, site="north", channel="image", statistic=9.0, z=z, p=0.01,
        cusum=cusum, threshold=6.0,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store(tmp_path / "run.sqlite") as store:
        store.record_run(
            Run(run="r", study="s", task_hash="t", started="2024-06-01T00:00:00Z", seed=1,
                engine="local", versions_json="{}")
        )  # fmt: skip
        for site, label in (("north", "A"), ("south", "B")):
            store.record(
                [Site(site=site, label=label, node_key="", patients_agreed=9, joined="", status="")]
            )
        rows = [shift(w, 2.0 * n, cusum=3.0 * n) for n, w in enumerate(WINDOWS, 1)]
        apart = [
            {"site": "south", "channel": "image", "said": "stands apart in images: noise +2.1"}
        ]
        detail = {"apart": apart, "notes": {"south": ["2024-01-31 image: far off once"]}}
        store.record_event("shift-looked", 3, detail=detail, also=rows)
    return tmp_path


def alarm(folder: Path) -> None:
    with Store(folder / "run.sqlite") as store:
        store.record(
            [Alarm(window=WINDOWS[2], site="north", channel="image", kind="acquisition",
                   since_window=WINDOWS[1], posterior=None, evidence="noise +1.2")]
        )  # fmt: skip


def test_an_alarm_is_one_sentence_with_its_date_and_evidence(folder: Path) -> None:
    alarm(folder)
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Hospital A (north): another scanner or protocol since 31 January 2024" in text
    assert "Evidence: noise +1.2." in text
    assert "Hospital A, images: the sum of readings" in text


def test_without_an_alarm_none_is_said_and_standing_differences_are_no_alarm(folder: Path) -> None:
    text = write_report(folder).read_text(encoding="utf-8")
    assert "No hospital has an alarm in the 3 windows that were judged." in text
    assert "Hospital B (south) stands apart in images: noise +2.1" in text
    assert "1 notes that are no alarms" in text


def test_a_look_that_failed_for_all_is_said(folder: Path) -> None:
    with Store(folder / "run.sqlite") as store:
        store.record_event("shift-looked", 3, detail={"problem": "LinAlgError"})
    text = write_report(folder).read_text(encoding="utf-8")
    assert "could not be judged at the last look (LinAlgError)" in text


def test_a_run_without_windows_has_no_such_section(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        store.record_run(
            Run(run="r", study="s", task_hash="t", started="2024-06-01T00:00:00Z", seed=1,
                engine="local", versions_json="{}")
        )  # fmt: skip
    assert "After the release" not in write_report(tmp_path).read_text(encoding="utf-8")
