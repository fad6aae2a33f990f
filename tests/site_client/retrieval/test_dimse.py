"""Fetching by DIMSE from real archives: C-FIND with C-GET, and C-MOVE where it is asked for."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import real_pacs
from pydicom import dcmread

from fedrad.errors import SettingsError
from site_client.archive.pacs import PacsError, PacsRefusedError, PacsUnreachableError
from site_client.archive_settings import Query

Make = Callable[..., list[bytes]]


def pixels(files: list[bytes]) -> list[bytes]:
    return sorted(dcmread(io.BytesIO(file)).PixelData for file in files)


@pytest.fixture
def dcmqrscp(network: None, tmp_path: Path) -> Iterator[Callable[[list[bytes]], None]]:
    """Run dcmtk's archive; the value stores files in it."""

    def fill(files: list[bytes]) -> None:
        folder = tmp_path / "sent"
        folder.mkdir(exist_ok=True)
        for number, content in enumerate(files):
            (folder / str(number)).write_bytes(content)
        real_pacs.send([folder / str(number) for number in range(len(files))])

    with real_pacs.dcmqrscp(tmp_path / "dcmqrscp"):
        yield fill


def test_c_get_from_orthanc_brings_what_was_asked(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    sent = make_series("P1", slices=5)
    real_pacs.fill(sent)
    real_pacs.fill(make_series("P2", StudyDate="20250101"))
    report = fetching.fetch(fetching.dimse())
    assert (report.complete, report.series, report.kept) == (True, 1, 5)
    assert pixels([path.read_bytes() for path in fetching.stored()]) == pixels(sent)
    assert fetching.fetch(fetching.dimse()).kept == 0


def test_c_get_from_a_second_archive_brings_what_was_asked(
    fetching: Any, dcmqrscp: Any, make_series: Make
) -> None:
    """This archive says how many instances there are in none of its answers."""
    sent = make_series("P1", slices=4)
    dcmqrscp([*sent, *make_series("P2", StudyDate="20250101")])
    report = fetching.fetch(fetching.dimse())
    assert (report.complete, report.series, report.kept) == (True, 1, 4)
    assert pixels([path.read_bytes() for path in fetching.stored()]) == pixels(sent)
    assert fetching.fetch(fetching.dimse()).kept == 0


@pytest.mark.parametrize("archive", ["orthanc", "dcmqrscp"])
def test_what_is_missing_is_asked_for_by_instance(
    fetching: Any, make_series: Make, archive: str, request: pytest.FixtureRequest
) -> None:
    program = request.getfixturevalue(archive)
    sent = make_series("P1", slices=4)
    (program if archive == "dcmqrscp" else real_pacs.fill)(sent)
    fetching.fetch(fetching.dimse())
    for path in fetching.stored()[:2]:
        path.unlink()
    assert fetching.fetch(fetching.dimse()).kept == 2
    assert pixels([path.read_bytes() for path in fetching.stored()]) == pixels(sent)


def test_c_move_brings_the_same_and_stops_listening(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    sent = make_series("P1", slices=3)
    real_pacs.fill(sent)
    report = fetching.fetch(fetching.moving())
    assert (report.complete, report.kept) == (True, 3)
    assert pixels([path.read_bytes() for path in fetching.stored()]) == pixels(sent)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((real_pacs.HOST, real_pacs.OWN_PORT), 1.0)


def test_the_listener_takes_nothing_from_strangers_and_nothing_unasked(
    fetching: Any, orthanc: Any, make_series: Make, tmp_path: Path
) -> None:
    from site_client.archive.dimse_move import MovePacs

    path = tmp_path / "unasked.dcm"
    path.write_bytes(make_series("P1", slices=1)[0])
    pacs = MovePacs(fetching.moving().dimse, ("CT",))
    try:
        line = [
            real_pacs.STORESCU,
            "-v",
            "-aec",
            real_pacs.OWN_TITLE,
            real_pacs.HOST,
            str(real_pacs.OWN_PORT),
        ]
        stranger = subprocess.run(
            [*line, "-aet", "EVIL", path], capture_output=True, text=True, check=False
        )
        known = subprocess.run(
            [*line, "-aet", "ORTHANC", path], capture_output=True, text=True, check=False
        )
    finally:
        pacs.close()
    assert "Calling AE Title Not Recognized" in stranger.stderr + stranger.stdout
    assert "OutOfResources" in known.stderr + known.stdout


def test_the_listener_hangs_up_on_another_host(fetching: Any, network: None) -> None:
    from site_client.archive.dimse_move import MovePacs

    pacs = MovePacs(replace(fetching.moving().dimse, host="127.0.0.9"), ("CT",))
    try:
        with socket.create_connection((real_pacs.HOST, real_pacs.OWN_PORT), 5.0) as caller:
            assert caller.recv(1) == b""
    finally:
        pacs.close()


def flooded(connection: socket.socket, kind: bytes) -> int:
    """Announce a packet of 4 GiB, send 64 MiB of it, and return how much was taken."""
    sent = 0
    with contextlib.suppress(OSError):
        connection.sendall(kind + b"\0\xff\xff\xff\xff")
        for _ in range(64):
            connection.sendall(bytes(1 << 20))
            sent += 1 << 20
    return sent


def test_the_listener_gathers_no_packet_of_gigabytes(fetching: Any, network: None) -> None:
    from site_client.archive.dimse_move import MovePacs

    pacs = MovePacs(fetching.moving().dimse, ("CT",))
    try:
        with socket.create_connection((real_pacs.HOST, real_pacs.OWN_PORT), 20.0) as caller:
            assert flooded(caller, b"\1") < 32 << 20
    finally:
        pacs.close()


def test_an_archive_that_answers_with_gigabytes_is_hung_up_on(fetching: Any, network: None) -> None:
    taken: list[int] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20.0)
            taken.append(flooded(connection, b"\2"))

    with socket.create_server((real_pacs.HOST, real_pacs.DICOM_PORT)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        report = fetching.fetch(fetching.dimse(attempts=1))
        thread.join()
    assert isinstance(report.error, PacsError)
    assert taken[0] < 32 << 20


def test_a_port_that_is_taken_is_named(fetching: Any, network: None) -> None:
    with (
        socket.create_server((real_pacs.HOST, real_pacs.OWN_PORT)),
        pytest.raises(SettingsError, match="cannot listen on 127.0.0.1 port 11113"),
    ):
        fetching.fetch(fetching.moving())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ae_title": "OTHER"}, "called ae title not recogni"),
        ({"own_ae_title": "EVIL"}, "calling ae title not recogni|rejects the association"),
    ],
)
def test_a_wrong_ae_title_is_named_with_the_way_out(
    fetching: Any, dcmqrscp: Any, wrong: dict[str, str], said: str
) -> None:
    """Now and then dcmtk hangs up before its answer is read; it is asked again then."""
    archive = fetching.dimse()
    report = fetching.fetch(replace(archive, dimse=replace(archive.dimse, **wrong)))
    assert isinstance(report.error, PacsRefusedError)
    assert re.search(said, report.problem)
    assert "pacs-request" in report.problem


def test_an_archive_that_is_down_is_waited_for_and_then_named(fetching: Any, network: None) -> None:
    report = fetching.fetch(fetching.dimse(attempts=3))
    assert isinstance(report.error, PacsUnreachableError)
    assert "no connection to 127.0.0.1:4242" in report.problem
    assert len(fetching.clock.waited_s) == 2


def test_a_silent_archive_does_not_hang_the_fetch(fetching: Any, network: None) -> None:
    """It takes the connection and never says a word."""
    archive = fetching.dimse(attempts=1)
    impatient = replace(archive.dimse, association_s=0.3, network_s=0.3, dimse_s=0.3)
    with socket.create_server((real_pacs.HOST, real_pacs.DICOM_PORT)):
        report = fetching.fetch(replace(archive, dimse=impatient))
    assert isinstance(report.error, PacsError)
    assert "before it began; does it know 'FEDRAD'" in report.problem


def test_an_instance_over_the_limit_is_stopped_while_it_arrives(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1", slices=2))
    real_pacs.fill(make_series("P2", slices=1, size=1200))
    report = fetching.fetch(fetching.dimse(max_instance_mib=0.5))
    assert (report.complete, report.kept, dict(report.refused)) == (True, 2, {"too-large": 1})
    assert fetching.fetch(fetching.dimse(max_instance_mib=0.5)).complete


def test_a_modality_without_a_known_class_is_named(fetching: Any, network: None) -> None:
    with pytest.raises(SettingsError, match=r"no storage class is known for \['OT'\]"):
        fetching.fetch(fetching.dimse(Query(modality=("OT",), first_date="2024-01-01")))


def test_an_archive_that_dies_while_it_sends_is_asked_for_the_rest_only(
    fetching: Any, network: None, make_series: Make, tmp_path: Path
) -> None:
    """Orthanc is killed while it sends; what came stays, the rest follows."""
    sent = make_series("P1", slices=40, size=256)
    with real_pacs.orthanc(tmp_path / "orthanc") as first:
        real_pacs.fill(sent)
        second = real_pacs.orthanc(tmp_path / "orthanc")
        fetching.clock.on_wait = lambda: len(fetching.clock.waited_s) == 1 and second.__enter__()
        killer = threading.Thread(target=kill_when, args=(first, fetching.home, 10))
        killer.start()
        try:
            report = fetching.fetch(fetching.dimse())
        finally:
            killer.join()
            second.__exit__(None, None, None)
    assert (report.complete, report.kept, len(fetching.stored())) == (True, 40, 40)
    assert fetching.clock.waited_s


def kill_when(program: real_pacs.Program, home: Path, files: int) -> None:
    while sum(1 for _ in (home / "store.incoming").rglob("*.part")) < files:
        pass
    program.kill()


def test_an_answer_that_breaks_the_rules_of_dicom_is_left_and_never_quoted(
    fetching: Any,
    orthanc: Any,
    make_series: Make,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real_pacs.fill(make_series("P1"))
    real_pacs.fill(make_series("P2", slices=1, StudyInstanceUID="1.2.MUELLER"))
    recwarn.clear()
    capfd.readouterr()
    report = fetching.fetch(fetching.dimse())
    assert (report.complete, report.kept, report.unasked) == (True, 3, 1)
    quoted = [*map(str, recwarn.list), *capfd.readouterr(), *fetching.said]
    assert not [text for text in quoted if "MUELLER" in text]
