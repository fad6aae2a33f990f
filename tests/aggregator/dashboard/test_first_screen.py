"""Who opens the dashboard sees whether anything is wrong, where, of which kind and since when."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from histories import History, write_history
from starlette.testclient import TestClient

from aggregator.dashboard.book import opened
from aggregator.dashboard.glance import Glance, read_glance
from aggregator.store import Store
from aggregator.tables import Metric

Browse = Callable[..., TestClient]
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def glance(folder: Path, **online: str) -> Glance:
    """Return the first screen of a run."""
    with opened(folder, letters_only=False) as book:
        return read_glance(book, online, NOW)


def words(page: str) -> str:
    """Return what a page says, tags left out."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_another_scanner_is_named_with_its_site_and_window(troubled: Path) -> None:
    seen = glance(troubled)
    assert seen.verdict_where == "Hospital C (Carrick)"
    assert seen.verdict == "another scanner or protocol, since the window of 2026-02-01."
    assert seen.waiting == 1


def test_the_page_says_it_before_anything_else(troubled: Path, browse: Browse) -> None:
    text = words(browse(troubled).get("/").text)
    verdict = text.index("Look at Hospital C (Carrick): another scanner or protocol, since")
    assert verdict < text.index("What needs a look")


def test_where_nothing_is_wrong_it_says_so(healthy: Path, browse: Browse) -> None:
    assert glance(healthy).matters == ()
    text = words(browse(healthy).get("/").text)
    assert "Nothing needs a look." in text
    assert "No shift release yet" in text


def test_a_refusal_a_quarantine_and_a_void_round_are_matters(troubled: Path) -> None:
    said = {one.site: one.text for one in glance(troubled).matters}
    assert "its privacy budget" in said["Hospital B (Birkdale)"]
    assert "until a person lifts it" in said["Hospital D (Dunmore)"]
    tiles = {tile.name: tile for tile in glance(troubled).tiles}
    assert "1 void so far" in tiles["Quorum"].more


def test_a_node_that_left_is_a_matter_where_others_are_there(healthy: Path) -> None:
    here = dict.fromkeys(("Ashford", "Birkdale", "Carrick"), "online")
    assert [one.site for one in glance(healthy, **here, Dunmore="offline").matters] == [
        "Hospital D (Dunmore)"
    ]
    tiles = {tile.name: tile for tile in glance(healthy, **here, Dunmore="offline").tiles}
    assert tiles["Hospitals up"].value == "3 of 4"


def test_the_time_left_is_that_of_the_rounds_that_are_left(healthy: Path) -> None:
    """Rounds take 11 minutes; 16 of 20 are left: 176 minutes."""
    tiles = {tile.name: tile for tile in glance(healthy).tiles}
    assert tiles["Time left"].value == "about 2 h 56 min"


def test_a_run_that_has_ended_has_no_time_left(tmp_path: Path) -> None:
    folder = write_history(tmp_path / "done", History(rounds=2, status="done"))
    assert {tile.name: tile.value for tile in glance(folder).tiles}["Time left"] == "none"


def test_a_run_without_a_round_has_nothing_measured(tmp_path: Path) -> None:
    folder = write_history(tmp_path / "new", History(rounds=0))
    seen = glance(folder)
    assert seen.detail == "No round was asked yet."
    assert all(not line.value and line.epsilon is None for line in seen.lines)


def test_another_run_in_trouble_is_named(healthy: Path, troubled: Path, browse: Browse) -> None:
    text = words(browse(healthy, troubled).get("/runs/healthy").text)
    assert "Another run needs a look: troubled (1 alarm, 1 in quarantine)." in text


def test_a_run_that_failed_says_why(healthy: Path) -> None:
    with Store(healthy / "run.sqlite") as store:
        store.end_run("healthy-1", status="failed", reason="the disk is full")
    assert glance(healthy).verdict == "the run is failed: the disk is full."


def test_the_training_period_is_no_later_release_than_a_window(healthy: Path) -> None:
    """Its name sorts behind every date."""
    with Store(healthy / "run.sqlite") as store:
        store.record(
            Metric(round=4, window=window, site="Ashford", split="window", metric="auroc",
                   value=value, lo=value - 0.1, hi=value + 0.1, n=None, method="private")
            for window, value in (("record", 0.31), ("2026-05-01", 0.62))
        )  # fmt: skip
    lines = {line.site: line for line in glance(healthy).lines}
    assert lines["Ashford"].value == "0.620"
