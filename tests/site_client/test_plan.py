"""``fedrad-site plan``: a real archive, the site's own limits, and an answer as exit code."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from tiny_study import EXACT, tiny_task

from fedrad.planning import noise
from fedrad.task import Task, read_task, task_hash, write_task
from simulations import scenarios
from site_client.allowance import read_allowance
from site_client.cli import app
from site_client.home import make_home
from site_client.journal import FILE
from site_client.plan import count_patients
from site_client.settings import read_site

DEMO = Path(scenarios.__file__).parent / "four_hospitals.task.toml"
PATIENTS = 30


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["plan", *words])
    return int(str(ended.value.code))


@pytest.fixture
def home(site: Any, write_image: Callable[..., Any]) -> Path:
    """A home over an archive of 30 patients with one image each; every third is ill."""
    pixels = np.full((64, 64), 1000, np.uint16)
    for number in range(PATIENTS):
        site.add(write_image(pixels, f"P{number:03d}"), f"{number}.dcm")
    rows = {f"AP{n:03d}": "normal" if n % 3 else "nodule" for n in range(PATIENTS)}
    site.label(rows)
    return Path(site.home)


def limited(home: Path, task: Task, **limits: object) -> Path:
    """Write the task beside the home and change ``[privacy]``; return the task's path."""
    table = tomllib.loads((home / "site.toml").read_text())
    table["privacy"] |= limits
    make_home(home, tomli_w.dumps(table))
    path = home.parent / "task.toml"
    write_task(path, task)
    return path


def flat(text: str) -> str:
    return " ".join(text.split())


def private(*settings: str) -> Task:
    return tiny_task("privacy.delta=1e-5", *settings)


def test_json_is_one_object_that_agrees_with_the_functions_and_nothing_is_charged(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = limited(home, private())
    assert run("--home", str(home), "--task", str(path), "--noise", "3", "--json") == 0
    found, task, settings = json.loads(capsys.readouterr().out), read_task(path), read_site(home)
    cohort = count_patients(home, settings, task)
    (site,) = found["sites"]
    assert (site["site"], site["patients_agreed"]) == ("north", cohort.agreed)
    assert site["training"] == asdict(noise.training(task, cohort.agreed, sigma=1.5))
    assert site["asked"] == asdict(noise.training(task, cohort.agreed, sigma=3.0))
    assert site["precision"]["patients"] == cohort.audit
    allowance = read_allowance(home, settings, task, agreed=cohort.agreed)
    assert found["allowance"] == json.loads(json.dumps(asdict(allowance) | {"enough": True}))
    assert "clipped and noised local steps" in found["effort"]["what"]
    assert not (home / FILE).exists() or not (home / FILE).read_bytes()
    assert not [file for file in (home / "state").rglob("*") if file.is_file()]


def test_patients_are_agreed_numbers_never_exact_ones(home: Path) -> None:
    cohort = count_patients(home, read_site(home), private())
    assert (cohort.train % 5, cohort.audit % 5) == (0, 0)
    assert 0.4 * PATIENTS < cohort.train < PATIENTS


def test_the_demos_task_is_planned_on_a_screen_of_80_columns(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    approved = tomllib.loads((home / "site.toml").read_text())
    approved["approval"] = {"studies": [task_hash(read_task(DEMO))]}
    make_home(home, tomli_w.dumps(approved))
    words = ("--home", str(home), "--task", str(DEMO), "--others", "300,300")
    code = run(*words)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "site.toml allows epsilon 8 at delta 0.0001: 22 of 22 rounds, 5 of 5" in flat(said)
    assert "refused" not in said
    assert "not approved" not in said
    assert code == ("north: no" in said.splitlines())


def test_the_sites_limits_show_up_as_refusals_and_end_with_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = private("federation.spare_rounds=4")
    path = limited(home, task, epsilon_limit=0.3, max_rounds=5)
    assert run("--home", str(home), "--task", str(path)) == 1
    said, settings = flat(capsys.readouterr().out), read_site(home)
    agreed = count_patients(home, settings, task).agreed
    found = read_allowance(home, settings, task, agreed=agreed)
    assert len(found.refusals) >= 3
    for refusal in found.refusals:
        assert f"refused: {refusal}" in said
    assert f"epsilon would last for all rounds at noise {found.noise_that_fits:g}" in said


def test_a_task_without_privacy_is_refused_and_measured_without_noise(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = limited(home, tiny_task(*EXACT))
    assert run("--home", str(home), "--task", str(path)) == 1
    said = flat(capsys.readouterr().out)
    assert "refused: the task is not private; only a simulation may run it" in said
    assert "0 of 2 rounds, 0 of 1 releases" in said
    assert "plain local steps on made-up patients" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--others", "300"), "--others cannot be used: - 1 of at least 2 sites"),
        (("--others", "300,0"), "a site without a training patient cannot take part"),
        (("--others", "many"), "'many' is not a whole number"),
        (("--noise", "0"), "a noise multiplier must be greater than 0 and finite, got 0"),
        (("--quality", "0.4"), "quality must lie between 0.5 and 1"),
        (("--task", "nowhere.toml"), "the file does not exist"),
    ],
)
def test_wrong_use_ends_with_two(
    words: tuple[str, ...], said: str, site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = limited(Path(site.home), private())
    assert run("--home", str(site.home), "--task", str(path), *words) == 2
    assert said in flat(capsys.readouterr().err)


def test_a_site_without_a_patient_for_the_task_is_told_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = limited(home, private("data.min_rows=100"))
    assert run("--home", str(home), "--task", str(path)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "unexpected" not in printed.err


def test_a_damaged_ledger_ends_with_five(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = limited(home, private())
    (home / FILE).write_text('{"seq": 1}\n')
    assert run("--home", str(home), "--task", str(path)) == 5
    assert "damaged" in capsys.readouterr().err
