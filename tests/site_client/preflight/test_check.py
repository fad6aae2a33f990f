"""Can this site join this task? On real archives of phantom hospitals."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TinyStudy, tiny_task

from fedrad.task import write_task
from site_client.cli import app


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """Write the task that the phantom hospitals were signed for."""
    write_task(tmp_path / "task.toml", tiny_task())
    return tmp_path / "task.toml"


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(str(ended.value.code))


def test_a_hospital_that_fits_may_join(
    study: TinyStudy, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--home", study.home(), "--task", task_file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] == "yes"
    assert sum(found["patients"].values()) == 40
