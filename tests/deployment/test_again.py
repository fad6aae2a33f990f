"""A study whose program died without a word is begun again; one that said why is not."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import STUDY, Federation, make_doors, need_nginx

from aggregator.deployment import runs
from aggregator.deployment.again import MOST, NOTE, Again, UnderWay, forget, read_under_way
from aggregator.deployment.state import is_running, read_note
from aggregator.deployment.superlink import FOLDER, control
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import read_study, run_folder
from aggregator.tables import Run


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Federation]:
    """A coordinator that waits for hospitals that never come."""
    need_nginx()
    running = Federation(make_doors(tmp_path, "federation.deadline_s=3000"))
    open_hub(running)
    yield running
    running.close()


def open_hub(running: Federation) -> None:
    running.start("hub", "aggregator", running.hub)
    running.until(lambda: is_running(running.hub) and read_note(running.hub)["state"] == "open")


def flower_runs(hub: Federation) -> list[tuple[str, str]]:
    connection = control(hub.hub)
    try:
        return [(run.status, run.study) for run in connection.runs()]
    finally:
        connection.close()


@pytest.mark.long
def test_a_killed_program_a_killed_server_and_an_ordered_end(hub: Federation) -> None:
    first = runs.begin(hub.hub, read_study(hub.hub, STUDY))
    hub.until(lambda: bool(hub.study_pids()))
    assert runs.begin(hub.hub, read_study(hub.hub, STUDY)) == first  # joined, not doubled
    [old] = hub.study_pids()
    hub.kill_study()
    hub.until(lambda: bool(set(hub.study_pids()) - {old}))
    assert [(how == "finished", of) for how, of in flower_runs(hub)] == [
        (True, STUDY),
        (False, STUDY),
    ]
    hub.children["hub"].process.kill()
    hub.children.pop("hub").process.wait()
    open_hub(hub)
    hub.until(lambda: len(flower_runs(hub)) == 3 and bool(hub.study_pids()))
    hub.children["hub"].process.send_signal(signal.SIGTERM)
    hub.children.pop("hub").process.wait()
    assert not read_under_way(hub.hub)
    open_hub(hub)


def test_waits_double_and_stay_below_what_flower_waits_for() -> None:
    waits = [UnderWay(run=1, deaths=deaths).wait_s for deaths in range(1, MOST + 1)]
    assert waits == [0, 1, 2, 4, 8, 16]


def note(home: Path, **values: int) -> Path:
    path = home / FOLDER / NOTE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({STUDY: values}))
    return home


def test_a_study_that_dies_again_and_again_is_given_up_with_a_reason(door: Federation) -> None:
    again, home = Again(door.hub), door.hub
    try:
        note(home, run=7, deaths=MOST, round=0)
        assert "died 6 times in a row" in again.ended(7, killed=True)
        assert not read_under_way(home)
    finally:
        again.close()


def test_a_program_that_said_how_it_ended_is_not_begun_again(door: Federation) -> None:
    again, home = Again(door.hub), door.hub
    try:
        note(home, run=7)
        assert again.ended(7, killed=False) == ""
        assert not read_under_way(home)
    finally:
        again.close()


def test_a_program_that_could_not_say_why_is_begun_again(door: Federation) -> None:
    """Flower had given its run up while its own server was away."""
    again, folder = Again(door.hub), run_folder(door.hub, STUDY)
    folder.mkdir(parents=True)
    try:
        with Store(folder / DATABASE) as store:
            store.record_run(
                Run(
                    run=STUDY,
                    study=STUDY,
                    task_hash="",
                    started="",
                    seed=1,
                    engine="",
                    versions_json="",
                )
            )
            store.end_run(STUDY, status="failed", reason="")
        note(door.hub, run=7)
        assert again.ended(7, killed=False) == ""
        assert read_under_way(door.hub)[STUDY].deaths == 1
    finally:
        again.close()
        forget(door.hub)
        shutil.rmtree(folder)


def test_a_note_that_is_not_whole_names_no_study(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / NOTE).write_text('{"demo": ')
    assert read_under_way(tmp_path) == {}
