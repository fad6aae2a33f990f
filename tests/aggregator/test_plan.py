"""``fedrad-aggregator plan`` prints what the planner computes, and ends with the answer."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tiny_study import EXACT, tiny_task

from aggregator.cli import app
from fedrad.models.networks import build
from fedrad.planning import noise
from fedrad.planning.outcomes import read_outcomes
from fedrad.planning.precision import Guess, expected_precision, pooled_precision
from fedrad.planning.readings import Situation
from fedrad.planning.traffic import traffic
from fedrad.planning.verdict import verdict
from fedrad.privacy.accounting import Event, epsilon
from fedrad.task import Task, read_task, task_hash, write_task
from simulations import scenarios

DEMO = Path(scenarios.__file__).parent / "four_hospitals.task.toml"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["plan", *words])
    return int(str(ended.value.code))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return written(tmp_path, tiny_task())


def written(folder: Path, task: Task) -> Path:
    write_task(folder / "task.toml", task)
    return folder / "task.toml"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def demo() -> tuple[int, dict[str, Any]]:
    """Return exit code and object of the demo's plan for 123, 300 and 80 patients."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run("--task", str(DEMO), "--patients", "123,300,80", "--noise", "2", "--json")
    return code, json.loads(out.getvalue())


def test_json_is_one_object_that_agrees_with_the_functions(demo: tuple[int, Any]) -> None:
    (code, found), task = demo, read_task(DEMO)
    assert (found["task_hash"], found["releases"]) == (task_hash(task), [5, 10, 15, 20])
    assert [site["patients_agreed"] for site in found["sites"]] == [120, 300, 80]
    release = noise.audit_sigma(task)
    for site in found["sites"]:
        agreed = site["patients_agreed"]
        sigma = noise.train_sigma(task, agreed)
        assert site["training"] == asdict(noise.training(task, agreed, sigma=sigma))
        held = site["precision"]["patients"]
        sharp = expected_precision(task, held, sigma=release, guess=Guess())
        assert site["precision"] == asdict(sharp)
    audits = [site["precision"]["patients"] for site in found["sites"]]
    assert found["pooled"] == asdict(pooled_precision(task, audits, sigma=release, guess=Guess()))
    assert found["traffic"].items() >= asdict(traffic(task, build(task, seed=0))).items()
    assert code == all(site["verdict"]["answer"] == "no" for site in found["sites"])


def test_the_epsilon_of_an_asked_noise_is_the_accountants(demo: tuple[int, Any]) -> None:
    everybody = Event(mechanism="gaussian", sigma=2.0, q=1.0, steps=22 * 3)
    drawn = Event(mechanism="subsampled-gaussian", sigma=2.0, q=0.6, steps=22 * 3)
    for site, event in zip(demo[1]["sites"], (everybody, drawn, everybody), strict=True):
        assert site["asked"]["epsilon"] == epsilon([event], 1e-5)


def test_the_verdict_is_looked_up_with_the_mean_of_the_sites(demo: tuple[int, Any]) -> None:
    for site in demo[1]["sites"]:
        situation = Situation(
            task=read_task(DEMO),
            epsilon=8.0,
            patients=site["patients_agreed"],
            mean_patients=(120 + 300 + 80) / 3,
            sites=3,
        )
        looked_up = verdict(situation, read_outcomes())
        assert site["verdict"] == json.loads(json.dumps(asdict(looked_up)))


def test_the_screen_has_the_numbers_of_the_json_and_fits(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--task", str(tiny), "--patients", "40,40,80", "--noise", "3")
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert run(*words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns
        for site in found["sites"]:
            row = next(line for line in lines if line.startswith(f"{site['site']}  ")).split()
            paid, asked = site["training"], site["asked"]
            assert row[1:3] == [str(site["patients_agreed"]), f"{paid['sigma']:g}"]
            assert row[5:7] == [f"{paid['epsilon']:.2f}", f"{asked['epsilon']:.2f}"]


def test_a_network_that_is_not_in_the_table_is_not_measured_and_no_reason_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, tiny_task("model.parameters={width=20}"))
    assert run("--task", str(path), "--patients", "60,65,80") == 0
    said = flat(capsys.readouterr().out)
    assert "A, B, C: not measured" in said
    assert "no trial has the network filter_bank_cnn with these parameters" in said
    assert "would be measured: network filter_bank_cnn with its default parameters" in said


def test_a_study_that_every_guard_would_refuse_ends_with_one_and_the_reason(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--task", str(tiny), "--patients", "1000,1000,1000") == 1
    assert "refused: delta 0.001 is not below 1 / 1000 patients" in flat(capsys.readouterr().out)
    loud = written(tmp_path, tiny_task("privacy.noise_multiplier=0.3"))
    assert run("--task", str(loud), "--patients", "40,40,40") == 1
    assert "over the task's 8" in flat(capsys.readouterr().out)


def test_a_task_without_privacy_is_for_simulations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, tiny_task(*EXACT))
    assert run("--task", str(path), "--patients", "40,60,80") == 1
    said = flat(capsys.readouterr().out)
    assert "without privacy" in said
    assert "only a simulation may run it" in said
    assert "attacker" not in said
    assert run("--task", str(path), "--patients", "40,60,80", "--json") == 1
    assert json.loads(capsys.readouterr().out)["sites"][0]["training"]["epsilon"] is None


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        ("", "0 of at least 3 sites"),
        ("120,300", "2 of at least 3 sites: below its quorum"),
        ("120,0,80", "a site without a training patient cannot take part; leave it out"),
        ("120,abc,80", "'abc' is not a whole number; write 120,300,80"),
        ("120,,80", "'' is not a whole number"),
        ("1.5,2,3", "'1.5' is not a whole number"),
        ("-1,2,3", "'-1' is not a whole number"),
    ],
)
def test_patients_that_no_study_could_have_are_wrong_use(
    patients: str, said: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--task", str(tiny), f"--patients={patients}") == 2
    printed = capsys.readouterr()
    assert said in flat(printed.err)
    assert printed.out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--audit", "1,2"), "3 sites have training patients and 2 have audit patients"),
        (("--quality", "2"), "quality must lie between 0.5 and 1, got 2"),
        (("--prevalence", "0"), "prevalence must lie between 0 and 1, got 0"),
        (("--noise", "0"), "a noise multiplier must be greater than 0 and finite, got 0: without"),
        (("--noise", "-1"), "must be greater than 0 and finite, got -1"),
        (("--noise", "nan"), "must be greater than 0 and finite, got nan"),
        (("--task", "nowhere.toml"), "the file does not exist"),
    ],
)
def test_other_wrong_use_ends_with_two(
    words: tuple[str, ...], said: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--task", str(tiny), "--patients", "40,60,80", *words) == 2
    assert said in flat(capsys.readouterr().err)


def test_more_audit_patients_are_counted_and_narrow_the_interval(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", str(tiny), "--patients", "40,40,40", "--audit", "100,400,0", "--json")
    assert run(*words) == 0
    found = json.loads(capsys.readouterr().out)
    few, many, none = (site["precision"] for site in found["sites"])
    assert 0 < found["enough_audit"] <= 100
    assert (few["patients"], many["patients"], none["patients"]) == (100, 400, 0)
    assert many["half_width"] < few["half_width"]
    assert none["half_width"] is None
