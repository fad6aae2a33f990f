"""Records of several sites become numbers with intervals, and a plan; nothing else is believed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_study import TinyStudy, tiny_task

from aggregator.cli import app
from aggregator.feasibility import read_feasibility, read_numbers
from fedrad.contract import agreed_patients
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.feasibility.cells import event, layout
from fedrad.feasibility.record import Record, as_bytes
from fedrad.privacy.accounting import epsilon
from fedrad.privacy.mechanisms import GRID
from fedrad.site_report import FEASIBILITY
from fedrad.task import Task, task_hash, write_task
from site_client.cli import app as site_app

TASK = tiny_task()
MEASURED = tiny_task("recipe.size=[64,64]", "privacy.delta=1e-5")  # the table knows it


def run(program: Any, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        program(list(words))
    return int(str(ended.value.code))


def record(
    task: Task, site: str, patients: list[int], noise: float = 7.04, seed: int = 1
) -> Record:
    """A site's record with noise from a fixed generator: patients by split and label."""
    rng, cells = np.random.default_rng(seed), layout(task)
    exact = {name: [0] * (len(cells[name]) - 1) + [sum(patients)] for name in cells}
    exact["patients"] = patients
    values = {
        name: tuple(
            float(round((v + rng.normal() * noise / math.sqrt(FEASIBILITY[name])) / GRID) * GRID)
            for v in exact[name]
        )
        for name in cells
    }
    return Record(
        site=site,
        task_hash=task_hash(task),
        number=1,
        noise=noise,
        patients=values["patients"],
        vendors=values["vendors"],
        views=values["views"],
        ledger_line="0" * 64,
        fedrad_version="0.1",
    )


def sent(folder: Path, *records: Record) -> list[Path]:
    for number, one in enumerate(records):
        (folder / f"{number}.json").write_bytes(as_bytes(one))
    return [folder / f"{number}.json" for number in range(len(records))]


BIG = [300, 330, 10, 60, 70, 2, 60, 68, 0]


def written(folder: Path, task: Task) -> Path:
    write_task(folder / "task.toml", task)
    return folder / "task.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, TASK)


def test_numbers_are_sums_of_cells_with_the_noise_of_each() -> None:
    found = read_numbers(replace(record(TASK, "a", BIG), patients=tuple(map(float, BIG))), TASK)
    sigma = 7.04 / math.sqrt(0.6)
    assert (found.patients.value, found.train.value, found.audit.value) == (900, 630, 130)
    assert found.labels["normal"].value == 420
    for estimate, cells in ((found.patients, 9), (found.train, 2), (found.labels["nodule"], 3)):
        half = (estimate.hi - estimate.lo) / 2
        assert half == pytest.approx(1.96 * sigma * math.sqrt(cells), rel=1e-3)
    assert found.labelled is not None
    assert found.labelled.value == pytest.approx(888 / 900)
    assert found.epsilon == epsilon([event(7.04)], TASK.privacy.delta)


def test_what_is_told_is_covered_as_often_as_promised() -> None:
    """Every number of 200 records: 95 %, within four standard errors of the mean of 200."""
    true = {"patients": 900, "train": 630, "audit": 130}
    held = []
    for seed in range(200):
        found = read_numbers(record(TASK, "a", BIG, seed=seed), TASK)
        held += [
            getattr(found, name).lo <= n <= getattr(found, name).hi for name, n in true.items()
        ]
        held.append(
            found.labelled is not None and found.labelled.lo <= 888 / 900 <= found.labelled.hi
        )
    assert abs(np.mean(held) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)


def test_the_plan_is_the_planners_at_both_ends_and_between(tmp_path: Path) -> None:
    records = [record(MEASURED, site, BIG, noise=3.0, seed=i) for i, site in enumerate("abc")]
    found = read_feasibility(sent(tmp_path, *records), written(tmp_path, MEASURED))
    for site in found.sites:
        assert site.agreed == agreed_patients(round(site.numbers.train.value))
        for level, at in (("lower", site.numbers.train.lo), ("upper", site.numbers.train.hi)):
            plan = found.plans[level]
            assert plan is not None
            planned = next(one for one in plan.sites if one.site == site.numbers.site)
            assert planned.patients_agreed == agreed_patients(round(at))
            assert site.answers[level] == planned.verdict.answer
    assert not {site.answer for site in found.sites} & {"not measured"}


def test_where_the_ends_differ_the_answer_is_doubtful(tmp_path: Path) -> None:
    """160 patients a site, more or less: with much noise it may be hardly any."""
    middling = [60, 60, 0, 15, 15, 0, 5, 5, 0]
    records = [record(MEASURED, site, middling, noise=20.0, seed=i) for i, site in enumerate("abc")]
    found = read_feasibility(sent(tmp_path, *records), written(tmp_path, MEASURED))
    assert {site.answer for site in found.sites if len(set(site.answers.values())) > 1} == {
        "doubtful"
    }
    assert any(len(set(site.answers.values())) > 1 for site in found.sites)


def test_few_sites_are_shown_and_not_planned(tmp_path: Path, path: Path) -> None:
    found = read_feasibility(sent(tmp_path, record(TASK, "a", BIG), record(TASK, "b", BIG)), path)
    assert set(found.plans.values()) == {None}
    assert found.hopeless
    assert found.sites[0].numbers.patients.value > 800


def test_records_that_do_not_belong_together_are_refused_by_name(
    tmp_path: Path, path: Path
) -> None:
    mine, other = record(TASK, "a", BIG), replace(record(TASK, "b", BIG), task_hash="1" * 64)
    files = sent(tmp_path, mine, replace(mine, number=2), other)
    with pytest.raises(SettingsError) as refused:
        read_feasibility(files, path)
    assert "1.json is of site a, as" in str(refused.value)
    assert "2.json is of the task 111111111111, not" in str(refused.value)
    files[1].write_bytes(files[1].read_bytes()[:200])
    with pytest.raises(DamagedStateError, match=r"1\.json is no whole feasibility record"):
        read_feasibility(files, path)


def test_no_count_under_ten_is_shown(tmp_path: Path, path: Path, capsys: Any) -> None:
    small = [14, 20, 0, 3, 4, 0, 2, 1, 0]
    files = sent(
        tmp_path, *(record(TASK, s, small, noise=0.5, seed=i) for i, s in enumerate("abc"))
    )
    words = ("feasibility", *map(str, files), "--task", str(path))
    assert run(app, *words) == 0
    said = capsys.readouterr().out
    assert "<10" in said
    assert run(app, *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sites"][0]["audit"] == {"value": None, "lo": None, "hi": None}
    assert found["sites"][0]["train"]["value"] >= 30
    assert found["plans"]["estimate"]["sites"][0]["precision"]["patients"] is None
    table = said[said.index("─\n") :]
    assert not [
        word
        for word in table.split("\n\n")[0].split()
        if word.strip("()").isdigit() and int(word.strip("()")) < 10
    ]


def test_three_hospitals_share_and_the_coordinator_reads(
    study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """End to end: homes, archives, ledgers, files, table."""
    homes = {site: study.home(site) for site in ("east", "north", "south")}
    task = homes["east"] / "state" / "studies" / "tiny-study" / "task.toml"
    for site, home in homes.items():
        text = (home / "site.toml").read_text()
        approved = f'\n[approval.feasibility]\n"{task_hash(study.task)}" = 4.0\n'
        (home / "site.toml").write_text(text + approved)
        words = ("check", "--home", str(home), "--task", str(task), "--yes")
        assert run(site_app, *words, "--share", str(tmp_path / f"{site}.json")) == 0
    capsys.readouterr()
    files = [str(tmp_path / f"{site}.json") for site in homes]
    assert run(app, "feasibility", *files, "--task", str(task), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [site["site"] for site in found["sites"]] == list(homes)
    for site in found["sites"]:
        assert site["epsilon"] == pytest.approx(4.0, abs=0.05)
        assert 20 < site["patients"]["value"] < 60, "40 in truth; the noise has a deviation of 3.6"
        assert site["views"]["PA"]["value"] > 20
        assert site["patients_agreed"] % 5 == 0
    assert run(app, "feasibility", files[0], files[0], "--task", str(task)) == 2
