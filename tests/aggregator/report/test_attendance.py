from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aggregator import tables
from aggregator.attendance import grid, round_lines, sentences
from aggregator.run_folder import read_run
from aggregator.store import Store


def test_a_site_that_declined_to_the_end_is_said_in_one_sentence(run_folder: Path) -> None:
    failed, sat_out, declined = sentences(read_run(run_folder))
    own = "(the details stay on its own screens)"
    assert failed == f"Hospital B (north) could not finish in round 12: an error {own}."
    assert sat_out == f"Hospital C (south) sat out in rounds 4 and 12: it was not ready {own}."
    assert declined == "Hospital D (west) declined from round 9 on: its privacy budget."


def test_a_spent_budget_holds_from_then_on_though_nobody_asks_again(run_folder: Path) -> None:
    with sqlite3.connect(run_folder / "run.sqlite") as database:
        database.execute(
            "DELETE FROM replies WHERE site = 'west' AND phase = 'train' AND round > 9"
        )
    run = read_run(run_folder)
    assert sentences(run)[-1] == "Hospital D (west) declined from round 9 on: its privacy budget."
    assert grid(run)["west"][8:10] == ["refused", "none"]


def test_a_refused_evaluation_is_told_apart_from_refused_training(run_folder: Path) -> None:
    with Store(run_folder / "run.sqlite") as store:
        answer = {"reply_id": "evaluate-20-east", "outcome": "refused", "reason_code": "budget"}
        store.record([tables.Answer(round=20, phase="evaluate", site="east", **answer)])
    found = sentences(read_run(run_folder))
    assert "Hospital A (east) declined to send metrics in round 20: its privacy budget." in found


def test_the_grid_has_a_mark_for_every_site_and_round(run_folder: Path) -> None:
    marks = grid(read_run(run_folder))
    assert list(marks) == ["east", "north", "south", "west"]
    assert {len(row) for row in marks.values()} == {30}
    assert marks["west"][7:9] == ["done", "refused"]


def test_a_site_that_never_answered_has_a_mark_of_its_own(run_folder: Path) -> None:
    with Store(run_folder / "run.sqlite") as store:
        store.start_round(31)
    assert grid(read_run(run_folder))["east"][-1] == "none"


def test_rounds_add_up_what_was_received(run_folder: Path) -> None:
    line = round_lines(read_run(run_folder))[9]
    assert (line.number, line.accepted, line.asked) == (10, 3, 4)
    assert line.bytes == 4 * (9_800 + 1_900)
    assert line.seconds == 2.4


@pytest.mark.parametrize(("phase", "counts"), [("window", 0), ("compare", 0), ("late", 500)])
def test_windows_and_comparisons_of_the_same_number_are_no_traffic_of_a_round(
    run_folder: Path, phase: str, counts: int
) -> None:
    before = round_lines(read_run(run_folder))[9].bytes
    answer = tables.Answer(
        round=10, phase=phase, site="north", reply_id="w", outcome="done", reason_code="", bytes=500
    )
    with Store(run_folder / "run.sqlite") as store:
        store.record([answer])
    assert round_lines(read_run(run_folder))[9].bytes == (before or 0) + counts


def test_a_round_that_has_not_ended_took_no_known_time(run_folder: Path) -> None:
    with Store(run_folder / "run.sqlite") as store:
        store.start_round(31)
    assert round_lines(read_run(run_folder))[-1].seconds is None


def test_a_window_that_was_declined_is_no_refusal_of_a_round(run_folder: Path) -> None:
    before = sentences(read_run(run_folder))
    declined = tables.Answer(
        round=0, phase="window", site="north", reply_id="w", outcome="refused", reason_code="budget"
    )
    with Store(run_folder / "run.sqlite") as store:
        store.record([declined])
    assert sentences(read_run(run_folder)) == before
