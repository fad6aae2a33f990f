"""The run's database: what is written is there, once, and history only grows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from aggregator.store import Store, report_rows, table_names
from aggregator.tables import Answer, Metric, Run, Spent
from fedrad.durable import canonical_json
from fedrad.errors import DamagedStateError, RunError
from fedrad.protocol.messages import Block

COLUMNS = {
    "runs": "run study task_hash started ended status reason seed engine versions_json",
    "sites": "site label node_key patients_agreed joined left status",
    "rounds": "round state accepted_digest model_digest started ended",
    "replies": "round phase site reply_id outcome reason_code update_digest weight ledger_head "
    "bytes seconds",
    "reports": "round window site model_digest block idx value sigma sensitivity",
    "metrics": "round window site model data_site split metric value lo hi n method",
    "shifts": "window site channel statistic z p cusum threshold",
    "alarms": "window site channel kind since_window posterior evidence",
    "actions": "round window site action parameters_json reason decided_by decision effect",
    "releases": "round model_digest decision by reasons_json signature",
    "privacy": "round site stream mechanism sigma q steps epsilon delta",
    "events": "seq time kind round site detail_json",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run.sqlite")


def an_answer(**fields: object) -> Answer:
    given = {"round": 1, "phase": "train", "site": "east", "reply_id": "r", "outcome": "done"}
    return Answer(**(given | {"reason_code": ""} | fields))


def a_metric(value: float) -> Metric:
    return Metric(
        round=2, site="east", split="audit", metric="auroc", value=value, lo=0.7, hi=0.9, n=40.0,
        method="exact",
    )  # fmt: skip


def test_the_tables_have_the_columns_of_the_contract(store: Store) -> None:
    assert set(table_names()) == set(COLUMNS)
    for table, columns in COLUMNS.items():
        assert list(store.frame(table).columns) == columns.split()


def test_the_file_is_a_versioned_write_ahead_log_database(store: Store) -> None:
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_newer_file_is_refused_with_the_way_out(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(RunError, match="has schema 9, this fedrad reads 1; update fedrad"):
        Store(store.path)


def test_a_file_that_is_no_database_is_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    path.write_bytes(b"these are not the tables you are looking for" * 100)
    with pytest.raises(DamagedStateError, match="not a run's database"):
        Store(path)


def test_what_was_written_is_there_when_the_file_is_opened_again(store: Store) -> None:
    store.record_metric([a_metric(0.8)])
    store.close()
    assert Store(store.path).frame("metrics")["value"].tolist() == [0.8]


def test_a_figure_recorded_twice_is_one_row_with_the_newer_value(store: Store) -> None:
    store.record_metric([a_metric(0.8)])
    store.record_metric([a_metric(0.85)])
    assert store.frame("metrics")["value"].tolist() == [0.85]


def test_the_same_answer_is_one_row_and_two_events(store: Store) -> None:
    store.record_reply(an_answer())
    store.record_reply(an_answer())
    assert len(store.frame("replies")) == 1
    assert store.frame("events")["kind"].tolist() == ["reply", "reply"]


def test_an_answer_its_sums_and_its_spending_are_written_together_or_not_at_all(
    store: Store,
) -> None:
    block = Block(name="n", values=np.array([20.0, np.nan]), sigma=2.0, sensitivity=1.0)
    rows = list(report_rows(1, "east", model_digest="m", blocks=[block]))
    broken = Spent(
        round=1, site="east", stream="audit", mechanism="gaussian", sigma=None, q=1.0, steps=1,
        epsilon=1.0, delta=1e-5,
    )  # fmt: skip
    with pytest.raises(Exception, match="NOT NULL"):
        store.record_reply(an_answer(), [*rows, broken])
    assert store.frame("replies").empty
    assert store.frame("reports").empty
    store.record_reply(an_answer(), rows)
    assert store.frame("reports")["value"].isna().tolist() == [False, True]


def test_the_history_file_is_chained_and_only_grows(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    store.record_event("first", 1, site="east", detail={"a": 1})
    store.record_event("second")
    store.write_history(path)
    before = path.read_bytes()
    store.record_event("third")
    store.write_history(path)
    assert path.read_bytes().startswith(before)
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["first", "second", "third"]
    assert lines[0]["detail"] == {"a": 1}
    for line, prev in zip(lines, ["", *(line["hash"] for line in lines)], strict=False):
        assert line["prev"] == prev
        bare = {name: value for name, value in line.items() if name != "hash"}
        assert line["hash"] == hashlib.sha256(canonical_json(bare)).hexdigest()


def test_a_round_goes_forward_and_its_history_is_kept(store: Store) -> None:
    store.start_round(1)
    store.record_reply(an_answer())
    store.record_round(1, "received")
    store.record_fold(1, {"east": 1.0}, accepted="a", model="m")
    store.record_round(1, "committed")
    store.record_round(1, "evaluated")
    row = store.frame("rounds").iloc[0]
    assert (row["state"], row["accepted_digest"], row["model_digest"]) == ("evaluated", "a", "m")
    assert row["ended"] > row["started"]
    assert store.frame("replies")["weight"].tolist() == [1.0]
    kinds = store.frame("events")["kind"].tolist()
    assert kinds == ["asked", "reply", "received", "folded", "committed", "evaluated"]


@pytest.mark.parametrize(
    ("path", "state"),
    [((), "received"), (("received",), "asked"), (("received", "committed"), "void"), ((), "done")],
)
def test_a_round_never_goes_back_or_sideways(
    store: Store, path: tuple[str, ...], state: str
) -> None:
    if path or state == "done":
        store.start_round(1)
    for step in path:
        store.record_round(1, step)
    with pytest.raises(RunError, match=f"round 1 is .* and cannot become '{state}'"):
        store.record_round(1, state)


def test_a_run_is_opened_and_closed_with_its_reason(store: Store) -> None:
    run = Run(
        run="r", study="s", task_hash="t", started="2026-01-01", seed=1, engine="local",
        versions_json="{}",
    )  # fmt: skip
    store.record_run(run)
    store.end_run("r", status="stopped", reason="too few sites")
    row = store.frame("runs").iloc[0]
    assert (row["status"], row["reason"]) == ("stopped", "too few sites")
    assert row["ended"].endswith("Z")


def test_metrics_leave_as_csv_with_the_columns_of_the_table(store: Store, tmp_path: Path) -> None:
    store.record_metric([a_metric(0.8)])
    store.write_metrics_csv(tmp_path / "metrics.csv")
    header, row = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert header == COLUMNS["metrics"].replace(" ", ",")
    assert row == "2,,east,global,,audit,auroc,0.8,0.7,0.9,40.0,exact"


def test_an_unknown_table_is_named(store: Store) -> None:
    with pytest.raises(RunError, match="no table 'patients'"):
        store.frame("patients")
