"""The form for a PACS's administrator: what it must say, and what it must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from site_client.cli import app
from site_client.home import make_home

FOLDER = 'kind = "folder"\npath = "../archive"\n'
DIMSE = """kind = "dimse"
hours = "20:00-06:00"
contact = "Radiology IT, extension 77"
[archive.dimse]
host = "pacs.example"
port = 104
ae_title = "ARCHIVE"
own_ae_title = "FEDRAD1"
[archive.query]
modality = ["CT", "SEG"]
accessions = "wanted.txt"
"""
WEB = """kind = "dicomweb"
[archive.dicomweb]
url = "https://pacs.example/dicom-web"
user = "fedrad"
password_file = "keys/pacs.password"
[archive.query]
modality = ["DX"]
first_date = "2024-01-01"
"""


def printed(
    home: Path, site_toml: str, archive: str, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    make_home(home, site_toml.replace(FOLDER, archive))
    (home / "wanted.txt").write_text("ACC-1\nACC-2\n")
    with pytest.raises(SystemExit) as ended:
        app(["pacs-request", "--home", str(home), *words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_form_of_a_dimse_archive_says_what_an_administrator_sets_up(
    tmp_path: Path, site_toml: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(tmp_path / "home", site_toml, DIMSE, capsys)
    for said in (
        "ae title: ARCHIVE", "port: 104", "ae title: FEDRAD1", "listens on: no port", "C-GET",
        "CT Image Storage, 1.2.840.10008.5.1.4.1.1.2, this site as SCP", "JPEG 2000",
        "Segmentation Storage", "hours: 20:00-06:00", "associations: 1", "a list of 2",
        "Radiology IT, extension 77", "study, then series",
    ):  # fmt: skip
        assert said in text
    assert "ACC-1" not in text
    assert "C-MOVE" not in text


def test_with_move_the_form_names_the_listener(
    tmp_path: Path, site_toml: str, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = 'move = true\nlisten_address = "10.1.2.3"\nlisten_port = 11112\n[archive.query]'
    archive = DIMSE.replace("[archive.query]", moving)
    text = printed(tmp_path / "home", site_toml, archive, capsys)
    assert "listens on: 10.1.2.3 port 11112, while fetching" in text
    assert "C-MOVE Study Root, 1.2.840.10008.5.1.4.1.2.2.2" in text


def test_the_form_of_a_web_archive_as_json_names_no_secret(
    tmp_path: Path, site_toml: str, capsys: pytest.CaptureFixture[str]
) -> None:
    form = json.loads(printed(tmp_path / "home", site_toml, WEB, capsys, "--json"))
    assert form["sign_in"] == "user fedrad"
    assert form["retrieved"] == {"modality": "DX", "study_dates": "2024-01-01 to today"}
    assert "password" not in json.dumps(form)
