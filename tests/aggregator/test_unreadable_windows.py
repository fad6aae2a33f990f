"""What is said of the other sites when one site's released sums break every formula."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_hostile_windows import released, watched_task
from tiny_federation import tiny_setup

from aggregator import shift_panels
from aggregator.blame import sparing
from aggregator.judging import judge
from aggregator.run_folder import read_run
from aggregator.store import Store, report_rows
from aggregator.tables import Run, Site
from aggregator.windows import Promoted
from fedrad.protocol.messages import Block

MODEL = Promoted(3, "a" * 64)
WINDOWS = [f"2020-{month:02d}-01" for month in range(1, 9)]


def contradicting(number: int) -> tuple[Block, ...]:
    """A thousand patients by one block, fewer than none by the table."""
    told = {"n": 1000.0, "positives": -900.0, "operating": -500.0, "table": -500.0}
    return tuple(
        replace(b, values=b.values * 0 + told[b.name]) if b.name in told else b
        for b in released(number)
    )


def vague(number: int) -> tuple[Block, ...]:
    return tuple(replace(b, sigma=1e9) if b.name == "table" else b for b in released(number))


@pytest.fixture(params=[contradicting, vague])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "run.sqlite") as store:
        store.record_run(
            Run(run="r", study="s", task_hash="t", started="2024-06-01T00:00:00Z", seed=1,
                engine="local", versions_json="{}")
        )  # fmt: skip
        for label, site in zip("ABC", ("east", "liar", "west"), strict=True):
            store.record(
                [Site(site=site, label=label, node_key="", patients_agreed=9, joined="", status="")]
            )
            for number, name in enumerate(WINDOWS):
                blocks = request.param(number) if site == "liar" else released(number)
                store.record(
                    report_rows(3, site, model_digest="a" * 64, blocks=blocks, window=name)
                )
        yield store


def test_one_unreadable_site_stops_nothing_that_is_said_of_the_others(
    store: Store, tmp_path: Path
) -> None:
    task = watched_task()
    assert judge(tiny_setup(tmp_path, task), store, MODEL) == ()
    (look,) = store.rows("events", kind="shift-looked")
    detail = json.loads(look["detail_json"])
    assert detail["sites"] == ["east", "west"]
    assert {row["site"] for row in store.rows("shifts")} == {"east", "west"}
    assert "its windows cannot be read" in detail["notes"]["liar"][0]
    panels = shift_panels.panels(replace(read_run(tmp_path), task=task))
    assert panels is not None
    assert any(note.startswith("Hospital B (liar): its windows") for note in panels.notes)
    drawn = {one.site for one in panels.released.calibration}
    said = any("(liar): its released sums" in gap for gap in panels.released.unread)
    assert drawn - {"liar"} == {"east", "west"}
    assert said == ("liar" not in drawn)


def test_what_no_single_site_explains_is_said_and_nothing_is_found() -> None:
    def alike(values: Mapping[str, int]) -> float:
        return float(np.linalg.cholesky(np.ones((len(values), len(values))))[0, 0])

    found = sparing({"a": 1, "b": 2}, alike)
    assert (found.found, found.blamed, found.problem) == (None, {}, "LinAlgError")
