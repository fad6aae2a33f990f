"""What a check says where something is missing: clear, with the way out, and nothing lost."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_client.catalogue import update_catalogue
from site_client.cli import app
from site_client.machine import GIB, read_machine
from site_client.preflight.check import Check
from site_client.preflight.lines import POLICY, Line, exit_code
from site_client.preflight.machine_lines import machine_lines, moment
from site_client.preflight.room import Room, room_line
from site_client.preflight.stock import Place, Stock
from site_client.settings import read_site

Said = Callable[[Check, str], str]


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(str(ended.value.code))


def test_a_folder_without_settings_is_wrong_use(
    tmp_path: Path, hospital: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("check", "--home", tmp_path / "empty", "--task", hospital.task_file) == 2
    assert "fedrad-site init --home writes one" in capsys.readouterr().err


def test_a_task_that_does_not_exist_is_wrong_use(
    hospital: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--home", hospital.home, "--task", hospital.home / "none.toml") == 2
    assert "the file does not exist" in capsys.readouterr().err
    assert not (hospital.home / "check.html").exists()


def test_an_empty_archive_says_where_to_put_images(hospital: Any, said: Said) -> None:
    found = hospital.check()
    assert found.exit_code == 1
    assert "no: 0 files in " in said(found, "archive")
    assert "put images there" in said(found, "archive")
    assert "Can north join demo? No" in hospital.page()


def test_an_archive_that_is_not_mounted_cannot_be_reached(hospital: Any, said: Said) -> None:
    hospital.site.archive.rmdir()
    found = hospital.check()
    assert found.exit_code == 3
    assert "is it mounted" in said(found, "archive")
    assert said(found, "memory")


def test_a_pacs_that_nothing_was_fetched_from_names_the_command(hospital: Any, said: Said) -> None:
    hospital.change(
        'kind = "folder"\npath = "../archive"',
        'kind = "dicomweb"\n[archive.dicomweb]\nurl = "https://pacs.example"\n'
        '[archive.query]\nmodality = ["DX"]\nfirst_date = "2024-01-01"',
    )
    found = hospital.check()
    assert found.exit_code == 3
    assert "fedrad-site fetch brings" in said(found, "archive")


def test_an_archive_of_which_nothing_can_be_used_shows_the_reasons(
    hospital: Any, said: Said
) -> None:
    for number in range(3):
        (hospital.site.archive / f"{number}.txt").write_text("a note")
    found = hospital.check()
    assert found.exit_code == 1
    assert "no: 0 of 0 usable files suit the task" in said(found, "images")
    assert [(one.reason, one.files) for one in found.set_aside] == [("not-dicom", 3)]
    assert "warning: 3 of 3 files" in said(found, "set aside")
    assert "not-dicom" in hospital.page()


def test_missing_labels_are_a_no_with_the_way_out(hospital: Any, said: Said) -> None:
    hospital.fill(4)
    (hospital.site.home.parent / "labels.csv").unlink()
    found = hospital.check()
    assert found.exit_code == 1
    assert "see [labels] file" in said(found, "labels")
    hospital.label([77])
    assert "no image has a label" in said(hospital.check(), "labels")


def test_a_list_that_is_missing_is_named(hospital: Any, said: Said) -> None:
    hospital.fill(4)
    with (hospital.home / "site.toml").open("a") as file:
        file.write('[patients]\nexclude = "gone.csv"\n')
    found = hospital.check()
    assert "gone.csv" in said(found, "lists")
    assert found.exit_code == 3


def test_too_many_studies_of_nobody_are_a_no_before_pixels_are_read(
    hospital: Any, said: Said
) -> None:
    hospital.fill(8)
    hospital.site.image("", "nobody.dcm")
    found = hospital.check()
    assert found.exit_code == 1
    assert "no: 1 of 9 studies (11.1 %) belong to no known patient" in said(found, "patient IDs")
    assert "pixels were not read yet" not in hospital.page()
    assert "Pixels were not read yet" in hospital.page()
    assert not list((hospital.home / "cache").rglob("*.npy"))


def test_a_check_repeated_says_the_same_and_reads_nothing_again(hospital: Any) -> None:
    hospital.fill(6)
    first, kept = hospital.check(), hospital.page()
    arrays = {path: path.stat().st_mtime_ns for path in (hospital.home / "cache").rglob("*.npy")}
    again = hospital.check()
    assert [line for line in first.lines if line.about not in ("clock", "disk")] == [
        line for line in again.lines if line.about not in ("clock", "disk")
    ]
    assert first.patients == again.patients
    assert {path: path.stat().st_mtime_ns for path in arrays} == arrays
    assert kept.count("<figure>") == hospital.page().count("<figure>") > 0


class _WrongClock:
    """A clock that is behind, or that jumps while a check runs."""

    def __init__(self, *, behind: timedelta = timedelta(0), jump_s: float = 0.0) -> None:
        self._now, self._jump = datetime.now(UTC) - behind, timedelta(seconds=jump_s)
        self._steady = 0.0

    def now(self) -> datetime:
        self._now += self._jump
        return self._now

    def monotonic_s(self) -> float:
        return self._steady

    def sleep(self, wait_s: float) -> None:
        raise NotImplementedError


def _about_the_clock(hospital: Any, clock: Any) -> Line:
    stock = Stock(catalogue=update_catalogue(hospital.home))
    place = Place(hospital.home, read_site(hospital.home), hospital.task)
    machine = read_machine(hospital.home)
    return list(machine_lines(place, stock, machine, began=moment(clock), clock=clock))[-1]


def test_a_clock_that_is_behind_or_jumps_is_a_warning(hospital: Any) -> None:
    hospital.fill(2)
    behind = _about_the_clock(hospital, _WrongClock(behind=timedelta(days=400)))
    assert behind.verdict == "warning"
    assert "the newest file of the archive is of" in behind.found
    jumped = _about_the_clock(hospital, _WrongClock(jump_s=3600))
    assert "it jumped by 3600 s during this check" in jumped.found
    assert _about_the_clock(hospital, _WrongClock()).verdict == "ok"


def test_a_disk_without_room_is_a_no(hospital: Any) -> None:
    settings = read_site(hospital.home)
    full = Room(whole=5 * GIB, there=GIB, free=4 * GIB)
    assert room_line(full, settings).verdict == "no"
    assert room_line(Room(5 * GIB, 2 * GIB, 4 * GIB), settings).verdict == "ok"
    much = Room(whole=15 * GIB, there=5 * GIB, free=90 * GIB, cached=11 * GIB)
    found = room_line(much, settings)
    assert (found.verdict, found.code, found.limit) == ("no", POLICY, "disk_gib 20")


def test_a_cache_that_cannot_be_written_is_a_no_and_the_rest_is_told(
    hospital: Any, said: Said
) -> None:
    hospital.fill(4)
    (hospital.home / "cache").rmdir()
    (hospital.home / "cache").write_text("in the way")
    found = hospital.check()
    assert found.exit_code == 1
    assert "cannot be written" in said(found, "disk")
    assert found.patients["all"]["train"] == 3
    assert not found.prepared


def test_more_threads_or_memory_than_there_are_is_a_warning(hospital: Any, said: Said) -> None:
    with (hospital.home / "site.toml").open("a") as file:
        file.write("[resources]\nthreads = 4096\nmemory_gib = 1e6\n")
    found = hospital.check()
    assert said(found, "cores").startswith("warning: ")
    assert said(found, "memory").startswith("warning: ")


VERDICTS = st.sampled_from(["ok", "warning", "no"])


@given(st.lists(st.tuples(VERDICTS, st.sampled_from([1, 3, 4, 5]))))
def test_only_a_no_decides_and_policy_only_where_nothing_else_does(
    found: list[tuple[Any, int]],
) -> None:
    code = exit_code(Line(verdict, "", "", code=code) for verdict, code in found)
    against = {code for verdict, code in found if verdict == "no"}
    assert (code == 0) == (not against)
    assert (code == 4) == (against == {4})
    assert code in against | {0}
