"""Fetching by DICOMweb from a real Orthanc: all of it, once, whatever happens in between."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import real_pacs
from pydicom import dcmread

from fedrad.errors import SettingsError
from site_client.archive.inbox import NoRoomError
from site_client.archive.pacs import PacsRefusedError, PacsUnreachableError
from site_client.archive_settings import DicomWeb, Query
from site_client.cli import app
from site_client.home import make_home
from site_client.retrieval.patience import ClosedError

Make = Callable[..., list[bytes]]
WEB = DicomWeb(url=f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}/dicom-web")


def test_a_series_arrives_byte_for_byte_under_names_that_say_nothing(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    sent = make_series("P1", slices=4)
    real_pacs.fill(sent)
    report = fetching.fetch(fetching.web())
    assert (report.complete, report.series, report.kept, report.missing) == (True, 1, 4, 0)
    assert sorted(path.read_bytes() for path in fetching.stored()) == sorted(sent)
    uid = str(dcmread(fetching.stored()[0]).SOPInstanceUID)
    everything = [str(path) for path in fetching.home.rglob("*")]
    everything.append((fetching.home / "state" / "fetched.jsonl").read_text())
    assert not [text for text in everything + fetching.said if uid in text or "P1" in text]


def test_only_what_the_query_names_is_fetched(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1", SeriesDescription="chest lung 1.0"))
    real_pacs.fill(make_series("P2", SeriesDescription="scout"))
    real_pacs.fill(make_series("P3", StudyDate="20231231", SeriesDescription="Lung"))
    real_pacs.fill(make_series("P4", StudyDescription="CT HEAD", SeriesDescription="lung"))
    query = replace(fetching.web().query, study_description="*thorax", series_description="*LUNG*")
    report = fetching.fetch(fetching.web(query))
    assert (report.studies, report.kept) == (2, 3)  # P1 and P2 by study, P1 alone by series
    assert {str(dcmread(path).PatientID) for path in fetching.stored()} == {"P1"}


def test_accession_numbers_of_a_list_are_fetched(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    for patient in ("P1", "P2", "P3"):
        real_pacs.fill(make_series(patient, slices=1))
    path = fetching.home / "wanted.txt"
    path.write_text("AP1\n\nAP3\nAP9\n")
    report = fetching.fetch(fetching.web(Query(modality=("CT",), accessions=path)))
    assert (report.complete, report.studies, report.kept) == (True, 2, 2)


def test_nothing_is_retrieved_twice(fetching: Any, orthanc: Any, make_series: Make) -> None:
    """The second fetch reads the store's own times: no file was written again."""
    real_pacs.fill(make_series("P1"))
    fetching.fetch(fetching.web())
    times = [path.stat().st_mtime_ns for path in fetching.stored()]
    again = fetching.fetch(fetching.web())
    assert (again.complete, again.finished, again.kept) == (True, 1, 0)
    assert [path.stat().st_mtime_ns for path in fetching.stored()] == times


def test_what_is_new_in_a_known_series_and_what_was_lost_is_fetched_alone(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    slices = make_series("P1", slices=5)
    real_pacs.fill(slices[:3])
    fetching.fetch(fetching.web())
    real_pacs.fill(slices[3:])
    assert fetching.fetch(fetching.web()).kept == 2
    fetching.stored()[0].unlink()
    assert fetching.fetch(fetching.web()).kept == 1
    assert sorted(path.read_bytes() for path in fetching.stored()) == sorted(slices)


def test_a_pacs_that_dies_is_waited_for_and_the_fetch_goes_on(
    fetching: Any, network: None, make_series: Make, tmp_path: Path
) -> None:
    with real_pacs.orthanc(tmp_path / "orthanc") as first:
        for patient in ("P1", "P2"):
            real_pacs.fill(make_series(patient))
        first.kill()
    second = real_pacs.orthanc(tmp_path / "orthanc")
    fetching.clock.on_wait = lambda: len(fetching.clock.waited_s) == 2 and second.__enter__()
    try:
        report = fetching.fetch(fetching.web())
    finally:
        second.__exit__(None, None, None)
    assert (report.complete, report.kept) == (True, 6)
    assert len(fetching.clock.waited_s) == 2


def test_a_pacs_that_stays_away_ends_the_fetch_after_growing_waits(
    fetching: Any, network: None
) -> None:
    report = fetching.fetch(fetching.web(attempts=4))
    assert isinstance(report.error, PacsUnreachableError)
    assert report.error.exit_code == 3
    waits = fetching.clock.waited_s
    assert len(waits) == 3
    assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(waits))


def test_a_wrong_password_is_not_tried_again(fetching: Any, network: None, tmp_path: Path) -> None:
    secret = fetching.home / "keys" / "pacs.password"
    secret.write_text("hunter2\n")
    secret.chmod(stat.S_IRUSR | stat.S_IWUSR)
    table = replace(fetching.web().dicomweb, user="fedrad", password_file=secret)
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"fedrad": "correct horse"}}
    with real_pacs.orthanc(tmp_path / "orthanc", **users):
        report = fetching.fetch(fetching.web(table=table))
        assert isinstance(report.error, PacsRefusedError)
        assert "user, password" in report.problem
        assert fetching.clock.waited_s == []
        secret.write_text("correct horse\n")
        assert fetching.fetch(fetching.web(table=table)).complete


def test_a_secret_that_others_can_read_is_refused(fetching: Any) -> None:
    secret = fetching.home / "token"
    secret.write_text("t")
    secret.chmod(0o640)
    with pytest.raises(SettingsError, match=r"mode 0640\); chmod 600"):
        fetching.fetch(fetching.web(table=replace(fetching.web().dicomweb, token_file=secret)))


def test_an_instance_over_the_limit_is_left_out_and_never_asked_for_again(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    slices = make_series("P1", slices=3)
    real_pacs.fill(slices)
    real_pacs.fill(make_series("P2", slices=1, StudyDescription="x" * 60))
    limit = (max(map(len, slices)) + 20) / 2**20
    report = fetching.fetch(fetching.web(max_instance_mib=limit))
    assert (report.complete, report.kept, dict(report.refused)) == (True, 3, {"too-large": 1})
    again = fetching.fetch(fetching.web(max_instance_mib=limit))
    assert (again.complete, dict(again.refused)) == (True, {})


def test_outside_the_hours_nothing_is_asked_and_later_it_goes_on(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1"))
    local = fetching.clock.now().astimezone()
    shut = f"{(local.hour + 2) % 24:02d}:00-{(local.hour + 3) % 24:02d}:00"
    report = fetching.fetch(fetching.web(hours=shut))
    assert isinstance(report.error, ClosedError)
    assert shut in report.problem
    opened = f"{local.hour:02d}:00-{(local.hour + 1) % 24:02d}:00"
    assert fetching.fetch(fetching.web(hours=opened)).complete


def test_a_disk_that_may_not_get_fuller_stops_the_fetch_and_nothing_is_lost(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1"))
    report = fetching.fetch(fetching.web(keep_free_gib=1e6))
    assert isinstance(report.error, NoRoomError)
    assert "must stay free" in report.problem
    assert fetching.fetch(fetching.web()).complete


def test_several_connections_bring_the_same(fetching: Any, orthanc: Any, make_series: Make) -> None:
    for number in range(6):
        real_pacs.fill(make_series(f"P{number}", slices=2))
    report = fetching.fetch(fetching.web(max_associations=3))
    assert (report.complete, report.series, report.kept) == (True, 6, 12)


def test_the_command_fetches_and_the_catalogue_reads_what_came(
    fetching: Any,
    orthanc: Any,
    make_series: Make,
    site_toml: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real_pacs.fill(make_series("P1"))
    pacs = f'kind = "dicomweb"\nkeep_free_gib = 0.0\n[archive.dicomweb]\nurl = "{WEB.url}"\n'
    asked = '[archive.query]\nmodality = ["CT"]\nfirst_date = "2024-01-01"\n'
    folder = 'kind = "folder"\npath = "../archive"\n'
    make_home(fetching.home, site_toml.replace(folder, pacs + asked))
    codes, outputs = [], []
    for words in (["fetch", "--json"], ["fetch"], ["catalogue"]):
        with pytest.raises(SystemExit) as ended:
            app([*words, "--home", str(fetching.home)])
        codes.append(ended.value.code)
        outputs.append(capsys.readouterr().out)
    assert codes == [0, 0, 0]
    assert json.loads(outputs[0])["images"] == 3
    assert outputs[1] == "1 of 1 series in 1 studies, 0 new images, 0 MiB\n"
    assert outputs[2].startswith("3 images of 1 patients")


def test_a_fetch_that_is_killed_goes_on_where_it_stopped(
    fetching: Any, orthanc: Any, make_series: Make, site_toml: str
) -> None:
    """The process is gone with kill -9 as soon as the first series lies in the store."""
    sent = [one for number in range(8) for one in make_series(f"P{number}", slices=6, size=128)]
    real_pacs.fill(sent)
    pacs = f'kind = "dicomweb"\nkeep_free_gib = 0.0\n[archive.dicomweb]\nurl = "{WEB.url}"\n'
    asked = '[archive.query]\nmodality = ["CT"]\nfirst_date = "2024-01-01"\n'
    make_home(
        fetching.home, site_toml.replace('kind = "folder"\npath = "../archive"\n', pacs + asked)
    )
    line = [sys.executable, "-c", "from site_client.cli import app; app()", "fetch", "--home"]
    process = subprocess.Popen([*line, str(fetching.home)], stderr=subprocess.DEVNULL)
    while not fetching.stored():
        assert process.poll() is None
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in fetching.stored()}
    report = fetching.fetch(fetching.web())
    assert report.complete
    assert 0 < len(before) == 48 - report.kept
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert sorted(path.read_bytes() for path in fetching.stored()) == sorted(sent)
