"""The list that a site needs to mend its ledger is what its replies told, word for word."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from aggregator.cli import app
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.tables import Answer, Run, Site
from aggregator.told import told_by
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Chain, Charge, Line, as_table
from fedrad.privacy.told import read_told

NOW = "2026-01-01T00:00:00.000Z"


def two_rounds() -> list[Line]:
    """Return the lines of two rounds; the second died."""
    chain = Chain()
    for number in range(2):
        event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.25, steps=10)
        charge = Charge(
            reservation=f"{number:064x}", stream="train", task_hash="t" * 64, event=event,
            patients_agreed=120,
        )  # fmt: skip
        chain.append(chain.charge_line("reserve", charge, time=NOW))
        if number == 0:
            chain.append(chain.commit_line(chain.lines[-1], steps=8, time=NOW))
    return list(chain.lines)


def record(store: Store, number: int, lines: list[Line], *, head: str, site: str = "east") -> None:
    answer = Answer(
        round=number, phase="train", site=site, reply_id=f"{site}{number}", outcome="done",
        reason_code="", ledger_head=head,
    )  # fmt: skip
    store.record_reply(answer, ledger_lines=[as_table(line) for line in lines])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in which the second reply told the first's commit again."""
    lines = two_rounds()
    with Store(tmp_path / DATABASE) as store:
        store.record_run(
            Run(run="r", study="s", task_hash="t", started=NOW, seed=1, engine="local",
                versions_json="{}")
        )  # fmt: skip
        store.record_sites(
            Site(site=site, label=site[0], node_key="", patients_agreed=100, joined=NOW, status="")
            for site in ("east", "west")
        )
        record(store, 1, lines[:2], head=lines[1].hash)
        record(store, 2, lines[1:], head="f" * 64)  # a line of another task follows
        record(store, 3, [], head="")  # no answer
        record(store, 1, lines[:1], head=lines[0].hash, site="west")
    return tmp_path


def test_every_line_is_there_once_in_order_with_the_last_head(run: Path) -> None:
    told = told_by(run, "east")
    assert list(told.lines) == two_rounds()
    assert (told.study, told.site, told.head) == ("s", "east", "f" * 64)
    assert [line.seq for line in told_by(run, "west").lines] == [0]


def test_the_command_writes_a_file_that_a_site_can_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        app(["ledger", str(run), "east", "--json", "--out", str(tmp_path / "list.json")])
    said = json.loads(capsys.readouterr().out)
    assert said == {"file": str(tmp_path / "list.json"), "lines": 3, "head": "f" * 64}
    assert read_told(tmp_path / "list.json") == told_by(run, "east")
    with pytest.raises(SystemExit, match=r"^0$"):
        app(["ledger", str(run), "west"])
    assert capsys.readouterr().out == f"1 ledger lines of west: {run / 'ledger-west.json'}\n"


def test_an_unknown_site_and_a_damaged_history_are_named(run: Path) -> None:
    with pytest.raises(SettingsError, match="no site 'south'; there are east, west"):
        told_by(run, "south")
    with sqlite3.connect(run / DATABASE) as connection:
        connection.execute("UPDATE events SET detail_json = replace(detail_json, '120', '\"x\"')")
    with pytest.raises(DamagedStateError, match="the history .* cannot be read"):
        told_by(run, "east")
