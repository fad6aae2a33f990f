"""A site runs models of the coordinator that it knows, unless a person says otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from model_run import picture, write_model_folder
from tiny_study import tiny_task

from fedrad import signatures
from site_client.cli import app

KEY = signatures.new_key()


@pytest.fixture
def line(site: Any, write_image: Any, site_toml: str, tmp_path: Path) -> list[str]:
    """The words of a prediction at a site that knows the owner of ``KEY``."""
    folder = site.add(write_image(picture(), "P1"), "study/1.dcm").parent
    write_model_folder(tmp_path / "model", tiny_task(), KEY)
    heard = signatures.spoken(signatures.key_digest(signatures.public_text(KEY)))
    table = f'[coordinator]\nname = "hub"\naddress = "hub.example:443"\nkey = "{heard}"\n'
    site.settings(site_toml + table)
    words = ["predict", str(folder), "--model", str(tmp_path / "model")]
    return [*words, "--out", str(tmp_path / "out"), "--home", str(site.home)]


def ended(words: list[str]) -> int:
    """What the command ends with."""
    with pytest.raises(SystemExit) as end:
        app(words)
    return int(end.value.code or 0)


def test_a_signed_model_runs(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["probability"] < 1
    assert found["model"]["signed_by"]
    assert all(Path(path).is_file() for path in found["files"])


def test_a_model_of_somebody_else_is_refused(line: list[str], tmp_path: Path) -> None:
    write_model_folder(tmp_path / "model", tiny_task(), signatures.new_key())
    assert ended(line) == 4
    assert not (tmp_path / "out").exists()


def test_a_model_that_nobody_signed_runs_only_if_a_person_says_so(
    line: list[str], tmp_path: Path
) -> None:
    write_model_folder(tmp_path / "model", tiny_task())
    assert ended(line) == 4
    assert ended([*line, "--unsigned", "--quiet"]) == 0


def test_a_changed_model_is_refused_whoever_says_so(line: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert ended([*line, "--unsigned"]) == 5
