"""A tracker gets released numbers with letters, each once; one that fails changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from histories import History, add_round, write_history

from aggregator.cli import app
from aggregator.run_folder import read_run
from aggregator.store import Store
from aggregator.tracking.follow import follow, plan_of
from aggregator.tracking.mlflow_sink import MlflowSink, without_password
from aggregator.tracking.told import Told, told
from fedrad.errors import SettingsError, UnreachableError

HISTORY = History(name="tracked", sites=4, rounds=3, windows=8, trouble=True, figures="names")
NOBODY = "http://127.0.0.1:9"  # the port of discard: nothing answers


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run whose hospitals agreed to be named."""
    return write_history(tmp_path / "tracked", HISTORY)


@pytest.fixture
def store_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of MLflow's own store of files, real and empty."""
    pytest.importorskip("mlflow", reason="extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "store").as_uri()


def test_no_name_is_told_even_where_names_are_agreed(run: Path) -> None:
    said = told(read_run(run))
    everything = f"{said.study} {said.run} {said.params} {said.tags} {said.points}"
    assert not any(name in everything for name in HISTORY.names)
    assert any(point.key == "auroc/Hospital A" for point in said.points)


def test_every_point_is_a_released_number(run: Path) -> None:
    rows = {(row["metric"], row["round"], row["value"]) for row in read_run(run).tables["metrics"]}
    own = [p for p in told(read_run(run)).points if p.key.partition("/")[0] in {"auroc"}]
    assert own
    assert all(("auroc", point.step, point.value) in rows for point in own)


def test_exact_metrics_have_no_epsilon(tmp_path: Path) -> None:
    folder = write_history(tmp_path / "exact", History(name="exact", rounds=2, exact=True))
    said = told(read_run(folder))
    assert not any("epsilon" in key for key in (*said.params, *(p.key for p in said.points)))
    assert said.tags["fedrad.metrics"] == "exact metrics: not private"


def test_mlflow_has_what_the_run_recorded_each_once(run: Path, store_uri: str) -> None:
    from mlflow.tracking import MlflowClient

    said = told(read_run(run))
    assert MlflowSink(store_uri).send(said) == len(said.points)
    assert MlflowSink(store_uri).send(said) == 0, "another process knows what is there"
    client = MlflowClient(tracking_uri=store_uri)
    experiment = client.get_experiment_by_name(said.study)
    assert experiment
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "auroc/Hospital B")
    wanted = [(p.step, p.value) for p in said.points if p.key == "auroc/Hospital B"]
    assert [(one.step, one.value) for one in history] == wanted
    assert found.data.params["task"] == read_run(run).about["task_hash"]


def test_a_new_round_alone_is_new(run: Path, store_uri: str) -> None:
    sink = MlflowSink(store_uri)
    before = {(p.key, p.step) for p in told(read_run(run)).points}
    sink.send(told(read_run(run)))
    with Store(run / "run.sqlite") as store:
        add_round(store, HISTORY, 4)
    after = told(read_run(run))
    assert sink.send(after) == len({(p.key, p.step) for p in after.points} - before) > 0


def test_a_tracker_that_does_not_answer_ends_with_3(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="extra mlflow is not installed")
    with pytest.raises(SystemExit) as ended:
        app(["track", "--run", str(run), "--to", NOBODY])
    assert ended.value.code == 3
    assert "rounds go on without it" in capsys.readouterr().err


def test_the_command_says_how_many_were_sent(
    run: Path, store_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["track", "--run", str(run), "--to", store_uri, "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["new"] == len(told(read_run(run)).points)


@dataclass
class FailsOnce:
    """A tracker that is down at first."""

    asked: int = 0

    def send(self, said: Told) -> int:
        self.asked += 1
        if self.asked == 1:
            raise UnreachableError("it is down")
        return len(said.points)


@dataclass
class Turns:
    """A clock on which waiting is over at once, and a wish to end after some looks."""

    left: int
    at_s: float = 0.0

    @property
    def asked(self) -> bool:
        return self.left <= 0

    def monotonic_s(self) -> float:
        return self.at_s

    def sleep(self, wait_s: float) -> None:
        self.at_s += 100.0
        self.left -= 1

    def now(self) -> None:
        raise NotImplementedError


def test_a_tracker_that_was_down_is_told_later_and_the_run_is_untouched(run: Path) -> None:
    before, said, sink = (run / "run.sqlite").read_bytes(), list[str](), FailsOnce()
    turns = Turns(3)
    follow(lambda: {"lungs": run}, sink, say=said.append, stop=turns, clock=turns)  # type: ignore[arg-type]
    assert sink.asked == 2, "what was taken is not sent again"
    assert said[0] == "lungs: it is down"
    assert said[1].endswith("new points sent")
    assert (run / "run.sqlite").read_bytes() == before


def test_a_password_in_the_address_is_never_shown() -> None:
    assert without_password("https://me:secret@ml.example.org/a") == "https://ml.example.org/a"


def test_the_server_keeps_it_where_a_tracker_is_named(home: Path) -> None:
    assert plan_of(home) == ()
    with (home / "aggregator.toml").open("a") as file:
        file.write('mlflow = "https://ml.example.org"\n')
    (plan,) = plan_of(home)
    assert plan.command[1:] == ("-m", "aggregator.tracking.follow", str(home))
    with (home / "aggregator.toml").open("a") as file:
        file.write('wandb = "x"\n')
    with pytest.raises(SettingsError, match="wandb"):
        plan_of(home)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a coordinator's home, as init writes it."""
    from aggregator.home import Coordinator, make_folders, write_settings

    folder = tmp_path / "hub"
    make_folders(folder)
    about = Coordinator(name="the hub", address="fed.example.org:443")
    write_settings(folder, about, listen="127.0.0.1:8443")
    return folder
