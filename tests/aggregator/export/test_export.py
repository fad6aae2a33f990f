"""An export holds every row, says what it is, and names nobody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from model_run import SITES, write_model_run
from tiny_study import tiny_task

from aggregator.cli import app
from aggregator.comparison import Comparison, SiteComparison, write_comparison
from aggregator.export.dictionary import COLUMNS
from aggregator.export.tables import export_run
from aggregator.store import Store, table_names
from aggregator.tables import Action, Answer, Metric, Table
from fedrad.contract import Conditions, read_contract, write_contract
from fedrad.errors import RunError
from fedrad.progress import silent

ID = hashlib.sha256(b"east").hexdigest()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with answers, metrics and a decision whose texts name sites."""
    folder = write_model_run(tmp_path / "run", tiny_task(), promoted=[2])
    with Store(folder / "run.sqlite") as store:
        store.record([
            Answer(round=1, phase="train", site="east", reply_id=ID, outcome="done",
                   reason_code="", weight=0.5),
            Metric(round=2, site="east", split="audit", metric="auroc", value=0.8, lo=0.7, hi=0.9,
                   n=38.5, method="private"),
            Metric(round=2, site="*", split="audit", metric="auroc", value=None, lo=None, hi=None,
                   n=None, method="private"),
            Action(round=2, site="north", action="lift", parameters_json='{"site": "north"}',
                   reason="East and north agreed", decided_by="Zebulon of north", decision="done",
                   effect="north is asked"),
            store._event("lifted", 2, site="north",
                         detail={"by": "Zebulon", "north": 1, "reply": ID}),
        ])  # fmt: skip
    return folder


def test_every_column_of_every_table_is_described() -> None:
    tables = {mapper.class_.__tablename__: mapper.columns.keys()
              for mapper in Table.registry.mappers}  # fmt: skip
    assert set(tables) == set(table_names()) == set(COLUMNS)
    for name, columns in tables.items():
        assert list(columns) == list(COLUMNS[name])


def test_pandas_loads_it_in_one_line(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "out", say=silent)
    metrics = pd.read_parquet(tmp_path / "out" / "metrics.parquet")
    assert metrics.query("site == 'Hospital A'")["value"].tolist() == [0.8]
    assert metrics.query("site == '*'")["value"].isna().all()
    again = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert list(again.columns) == list(metrics.columns)
    assert str(pd.read_parquet(tmp_path / "out" / "rounds.parquet")["started"].dt.tz) == "UTC"


def test_no_file_tells_a_name(run: Path, tmp_path: Path) -> None:
    """Nor a digest of one: whoever guesses a name could confirm it."""
    found = export_run(run, tmp_path / "out", say=silent)
    assert not found.names
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir()).lower()
    for word in (*SITES, "zebulon", ID):
        assert word.encode() not in content, word
    actions = pd.read_csv(tmp_path / "out" / "actions.csv")
    assert actions["reason"].tolist() == ["Hospital A and Hospital B agreed"]


def test_agreed_names_are_there(run: Path, tmp_path: Path) -> None:
    contract = read_contract(run / "contract.json")
    conditions = Conditions(expires="2027-01-01", recipients=("all",), figures="names")
    write_contract(run / "contract.json", replace(contract, schema=2, conditions=conditions))
    assert export_run(run, tmp_path / "out", say=silent).names
    replies = pd.read_parquet(tmp_path / "out" / "replies.parquet")
    assert replies[["site", "reply_id"]].to_numpy().tolist() == [["east", ID]]


def test_what_would_still_name_a_site_is_not_written(run: Path) -> None:
    from aggregator.letters import Letters
    from aggregator.run_folder import read_run

    with pytest.raises(RunError, match="Hospital A would leave"):
        Letters(read_run(run)).refuse_names(["of East"])


def test_every_row_is_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        app(["export", str(run), "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    with Store(run / "run.sqlite") as store:
        assert rows == {name: len(store.frame(name)) for name in COLUMNS}


def test_a_simulations_comparison_is_a_table_too(run: Path, tmp_path: Path) -> None:
    one = SiteComparison(site="east", label="A", n=40, n_positive=18, alone=0.8, pooled=0.9,
                         difference=0.02, lo=-0.01, hi=0.05, verdict="cannot tell",
                         reason="east has few")  # fmt: skip
    write_comparison(run, Comparison(primary="auroc", sites=(one,)))
    assert export_run(run, tmp_path / "out", say=silent).rows["comparison"] == 1
    (row,) = pd.read_parquet(tmp_path / "out" / "comparison.parquet").to_dict("records")
    assert (row["site"], row["n"], row["alone"]) == ("Hospital A", 40, 0.8)
    assert row["reason"] == "Hospital A has few"
    told = pd.read_csv(tmp_path / "out" / "dictionary.csv")
    assert set(told[told["table"] == "comparison"]["column"]) == set(row)
    assert "trivial" in row
