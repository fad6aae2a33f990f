"""The hospital's commands, on real archives."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_study import tiny_task

from fedrad.provenance import Provenance
from fedrad.task import task_hash, write_task
from site_client.cli import app


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def test_catalogue_counts_what_may_be_used_and_what_not(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.image("P1", "1.dcm")
    site.image("P1", "2.dcm")
    site.image("", "nobody.dcm")
    (site.archive / "note.txt").write_text("not an image")
    assert run("catalogue", "--home", str(site.home)) == 0
    said = capsys.readouterr().out
    assert said == "2 images of 1 patients, 2 set aside: 1 not-dicom, 1 patient-id-unusable\n"


def test_catalogue_as_json_is_one_object(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.image("P1", "1.dcm")
    assert run("catalogue", "--json", "--home", str(site.home)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"images": 1, "patients": 1, "set_aside": 0, "reasons": {}}


def test_any_folder_can_be_looked_at_without_a_home(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.image("P1", "1.dcm")
    assert run("catalogue", "--archive", str(site.archive)) == 0
    assert capsys.readouterr().out == "1 images of 1 patients, 0 set aside\n"
    assert run("catalogue") == 2
    assert "--archive" in capsys.readouterr().err
    assert run("catalogue", "--archive", str(site.archive / "nowhere")) == 3


def test_quarantine_counts_by_reason_and_names_the_files_of_one(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("quarantine", "--home", str(site.home)) == 0
    assert capsys.readouterr().out == "nothing was set aside\n"
    site.image("", "nobody.dcm")
    (site.archive / "note.txt").write_text("not an image")
    run("catalogue", "--home", str(site.home))
    capsys.readouterr()
    assert run("quarantine", "--home", str(site.home)) == 0
    said = capsys.readouterr().out
    assert "1 not-dicom: the file is no DICOM file" in said
    assert "1 patient-id-unusable: nobody can say" in said
    assert run("quarantine", "not-dicom", "--json", "--home", str(site.home)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [{"file": "note.txt", "task": "", "detail": ""}]


def test_the_home_may_come_from_the_environment(
    site: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDRAD_HOME", str(site.home))
    assert run("catalogue") == 0
    assert capsys.readouterr().out.startswith("0 images of 0 patients")


def test_a_missing_archive_cannot_be_reached(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.archive.rmdir()
    assert run("catalogue", "--home", str(site.home)) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "archive" in printed.err


def test_a_person_sees_hash_and_provenance_before_accepting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tiny_task()
    known = Provenance(source="us", data="films of 1999", licence="CC0-1.0", digest="a" * 64)
    model = replace(plain.model, initial="w.safetensors", provenance=known)
    for task, start in ((plain, "random weights"), (replace(plain, model=model), "films of 1999")):
        write_task(tmp_path / "task.toml", task)
        assert run("task", str(tmp_path / "task.toml")) == 0
        said = capsys.readouterr().out
        assert start in said
        assert task_hash(task) in said
