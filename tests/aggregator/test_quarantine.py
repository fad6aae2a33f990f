"""Bad replies again and again: a site is left alone, and a person lets it in again."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from test_set_aside import Scaled
from tiny_federation import SITES, Fault, TinySites, tiny_setup, tiny_task
from typer.testing import CliRunner

from aggregator import attendance, quarantine
from aggregator.app import server_app
from aggregator.cli import app
from aggregator.correspondence import NAME
from aggregator.run_folder import read_run
from aggregator.setup import RunSetup, Silent
from aggregator.store import Store
from fedrad import audit_log
from fedrad.errors import RunError
from fedrad.task import Task
from simulations.engines import run_local

WEST_IS_BAD = Fault("west", "nan")


def lenient(**federation: object) -> Task:
    """Return the tiny task; without west its sites agree so early that norms differ much."""
    return tiny_task(**{"rule": {"name": "mean", "ceiling": 1e9}} | federation)


def run(setup: RunSetup, *faults: Fault, sites: TinySites | None = None) -> None:
    run_local(server_app(setup), SITES, sites or TinySites(SITES, faults), workers=0)


def table(setup: RunSetup, name: str) -> pd.DataFrame:
    with Store(setup.folder / "run.sqlite") as store:
        return store.frame(name)


def asked(setup: RunSetup, site: str = "west", phase: str = "train") -> list[int]:
    return sorted(table(setup, "replies").query("site == @site and phase == @phase")["round"])


def status(setup: RunSetup, site: str = "west") -> str:
    return str(table(setup, "sites").set_index("site")["status"][site])


def stopped_after(setup: RunSetup, number: int, *faults: Fault) -> None:
    """Run until round ``number`` is over, then be interrupted."""

    class Interrupting(Silent):
        def round_closed(self, round_number: int, state: str) -> None:
            del state
            if round_number == number:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_setup(setup.folder, setup.task, progress=Interrupting()), *faults)


def test_three_bad_replies_and_a_site_is_asked_no_more(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=5))
    run(setup, WEST_IS_BAD)
    assert asked(setup) == [1, 2, 3]
    assert asked(setup, phase="evaluate") == [2]  # not the ones after rounds 4 and 5
    assert status(setup) == "quarantined"
    (event,) = table(setup, "events").query("kind == 'quarantined'").to_dict("records")
    assert (event["site"], event["round"]) == ("west", 3)
    detail = json.loads(event["detail_json"])
    assert detail == {"bad": [[1, "train"], [2, "train"], [3, "train"]], "limit": 3}
    assert asked(setup, "east") == [1, 2, 3, 4, 5]


def test_the_task_says_how_many(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(bad_replies=1))
    run(setup, WEST_IS_BAD)
    assert asked(setup) == [1]


def test_updates_that_are_set_aside_count_too(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(bad_replies=1, rule={"name": "mean"}))
    run(setup, sites=Scaled())
    assert asked(setup) == [1, 2]


def test_sums_that_are_refused_count_and_a_site_counts_once_a_phase(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=4, bad_replies=2))
    run(setup, Fault("west", "no-blocks", phase="evaluate", round=2), Fault("west", "nan", round=3))
    assert asked(setup) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["schema", "declined", "not-ready", "raise", "newer-failed"])
def test_what_is_no_bad_reply_quarantines_nobody(tmp_path: Path, kind: str) -> None:
    setup = tiny_setup(tmp_path, lenient(bad_replies=1))
    run(setup, Fault("west", kind))
    assert asked(setup) == [1, 2, 3]
    assert status(setup) == "joined"


def test_figures_that_fail_for_everybody_are_held_against_nobody(tmp_path: Path) -> None:
    def broken(_: int, __: object) -> list[object]:
        raise MemoryError

    setup = tiny_setup(tmp_path, lenient(bad_replies=1), on_release=broken)
    run(setup)
    assert set(table(setup, "sites")["status"]) == {"joined"}


def test_a_restart_forgets_no_bad_reply_and_counts_none_twice(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=5))
    for number in (1, 2, 3):
        stopped_after(setup, number, WEST_IS_BAD)
    run(setup, WEST_IS_BAD)
    assert asked(setup) == [1, 2, 3]
    assert len(table(setup, "events").query("kind == 'quarantined'")) == 1


def test_a_person_lets_a_site_in_again_from_the_next_round(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=5, bad_replies=1))
    stopped_after(setup, 2, WEST_IS_BAD)
    with Store(tmp_path / "run.sqlite") as store:
        assert quarantine.lift(store, "west", by="Dr Lee", reason="its disk was changed") == 2
    assert status(setup) == "joined"
    run(setup)
    assert asked(setup) == [1, 3, 4, 5]
    (action,) = table(setup, "actions").to_dict("records")
    assert (action["action"], action["decided_by"]) == ("lift", "Dr Lee")


def test_a_site_that_was_let_in_begins_at_nothing(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=6, bad_replies=2))
    stopped_after(setup, 2, WEST_IS_BAD)
    with Store(tmp_path / "run.sqlite") as store:
        quarantine.lift(store, "west", by="Dr Lee", reason="mended")
    run(setup, WEST_IS_BAD)
    assert asked(setup) == [1, 2, 3, 4]
    assert status(setup) == "quarantined"


def test_only_what_is_in_quarantine_is_lifted(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(bad_replies=1))
    run(setup, WEST_IS_BAD)
    with (
        Store(tmp_path / "run.sqlite") as store,
        pytest.raises(RunError, match="'east' is not in quarantine; in quarantine are: west"),
    ):
        quarantine.lift(store, "east", by="Dr Lee", reason="because")


def test_a_run_that_lost_too_many_to_quarantine_stops_and_says_so(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(bad_replies=1, spare_rounds=2))
    with pytest.raises(RunError, match=r"2 sites can still train.*in quarantine: east, west"):
        run(setup, Fault("east", "nan"), Fault("west", "shape"))


LIFT = ("lift", "west", "--by", "Dr Lee", "--reason", "its disk was changed")


def test_the_command_is_recorded_twice_and_the_report_says_both(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient(rounds=4, bad_replies=1))
    stopped_after(setup, 2, WEST_IS_BAD)
    said = command(*LIFT, "--run", str(tmp_path), "--json")
    assert said == {
        "site": "west", "asked_after": 2, "by": "Dr Lee", "reason": "its disk was changed",
    }  # fmt: skip
    (line,) = (line for line in audit_log.read(tmp_path / NAME) if line["kind"] == "lifted")
    assert (line["site"], line["by"]) == ("west", "Dr Lee")
    audit_log.verify(tmp_path / NAME)
    run(setup)
    told = attendance.sentences(read_run(tmp_path))
    assert (
        "Hospital D (west) was in quarantine after round 1: 1 of its replies could not be used. "
        "Dr Lee let it in again after round 2: its disk was changed."
    ) in told


def test_the_report_names_who_is_in_quarantine(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, lenient())
    run(setup, WEST_IS_BAD)
    assert any(
        line.startswith("Hospital D (west) is in quarantine since round 3: 3 of its replies could")
        for line in attendance.sentences(read_run(tmp_path))
    )


def test_a_decision_of_nobody_is_refused(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path, lenient(bad_replies=1)), WEST_IS_BAD)
    done = invoke("lift", "west", "--by", " ", "--reason", "x", "--run", str(tmp_path))
    assert "a person decides" in str(done.exception)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words, env={"FEDRAD_HOME": None})


def command(*words: str) -> dict[str, object]:
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)
