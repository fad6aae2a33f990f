"""What was set aside is said in words, with a way out, and without a file or a patient."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import site_client
from site_client.cli import app
from site_client.dataset import load_split
from site_client.reasons import REASONS, explain

KNOWN_AS_REASON = re.compile(
    r'UnusableFileError\(\s*"([a-z][a-z0-9-]+)"|^    +yield "([a-z-]+)", ', re.M
)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def test_every_reason_has_a_meaning_and_a_way_out(
    site: Any, site_toml: str, make_task: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.image("P1", "good.dcm")
    site.image("UNKNOWN", "ACC-4711.dcm")
    site.image("P2", "small.dcm", Modality="MR")
    (site.archive / "note.txt").write_text("not an image")
    (site.home / "out.csv").write_text("PatientID\nP77\n")
    site.settings(site_toml + '[patients]\nexclude = "out.csv"\n')
    site.label({"AP1": "yes"})
    load_split(site.home, make_task(), "train")
    assert run("quarantine", "--home", str(site.home)) == 0
    said = capsys.readouterr().out
    assert "1 wrong-modality (for demo): another modality than the study's" in said
    assert "1 patient-id-unusable: nobody can say whose image it is" in said
    assert "1 x the PatientID is a placeholder" in said
    assert "1 of 3 studies (33.3 %) belong to no known patient: not ready for private" in said
    assert "out.csv line 2: no file of the archive has this PatientID" in said
    for name in ("ACC-4711", "P77", "UNKNOWN"):
        assert name not in said


def test_the_same_as_one_json_object(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.image("", "nobody.dcm")
    assert run("quarantine", "--json", "--home", str(site.home)) == 0
    found = json.loads(capsys.readouterr().out)
    (one,) = found["reasons"]
    assert (one["reason"], one["files"]) == ("patient-id-unusable", 1)
    assert one["details"] == {"the file has no PatientID": 1}
    assert found["unusable"] == {"studies": 1, "of": 1}


def test_files_of_one_reason_are_named_when_asked_for(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.image("", "nobody.dcm")
    assert run("catalogue", "--home", str(site.home)) == 0
    assert run("quarantine", "patient-id-unusable", "--home", str(site.home)) == 0
    assert "nobody.dcm  the file has no PatientID" in capsys.readouterr().out


def test_an_archive_without_trouble_says_so(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.image("P1", "good.dcm")
    assert run("quarantine", "--home", str(site.home)) == 0
    assert capsys.readouterr().out == "nothing was set aside\n"


def test_no_reason_that_the_program_gives_is_unexplained() -> None:
    """Codes are looked for where they are raised, so that a new one is not forgotten."""
    folder = Path(site_client.__path__[0])
    screens = folder / "dashboard"  # they show files' reasons and give none
    texts = [p.read_text() for p in folder.rglob("*.py") if screens not in p.parents]
    given = {a or b for text in texts for a, b in KNOWN_AS_REASON.findall(text)}
    assert len(given) > 30
    assert sorted(given - REASONS.keys()) == []


def test_a_code_unheard_of_still_says_where_to_look() -> None:
    assert "detail" in explain("something-new").means
