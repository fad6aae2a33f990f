"""A PACS that answers wrongly: nothing, half, something else, too much, or not as itself.

A real Orthanc answers; a proxy in between spoils what it says, as broken gateways do.
"""

from __future__ import annotations

import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import real_pacs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom import dcmread

from fedrad.errors import DamagedStateError, FedradError, RunError
from site_client.archive.inbox import NoRoomError
from site_client.archive.pacs import PacsError, PacsRefusedError
from site_client.archive_settings import DicomWeb

Make = Callable[..., list[bytes]]
Answer = tuple[int, str, bytes]  # status, content type, body
PORT = 9042
WHOLE_SERIES = re.compile(r"/series/[0-9.]+$")
PROXIED = DicomWeb(url=f"http://{real_pacs.HOST}:{PORT}/dicom-web")


@contextmanager
def spoiling(
    spoil: Callable[[str, Answer], Answer], tls: tuple[Path, Path] | None = None
) -> Iterator[None]:
    """Answer on ``PORT`` with what ``spoil`` makes of Orthanc's answer; over TLS if asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = spoil(self.path, asked_of_orthanc(self.path, self.headers))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Location", "http://elsewhere.example/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((real_pacs.HOST, PORT), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def asked_of_orthanc(path: str, headers: Any) -> Answer:
    url = f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}{path}"
    request = urllib.request.Request(url, headers={"Accept": headers["Accept"]})
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310  # loopback
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, "text/plain", b""
    except urllib.error.URLError:
        return 502, "text/plain", b""


def of_whole_series(change: Callable[[bytes], bytes]) -> Callable[[str, Answer], Answer]:
    """Change the body of an answer to a series request, and no other."""

    def spoil(path: str, answer: Answer) -> Answer:
        status, kind, body = answer
        return status, kind, change(body) if WHOLE_SERIES.search(path) else body

    return spoil


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_half_a_series_is_kept_and_the_rest_asked_for_by_instance(
    fetching: Any, orthanc: Any, make_series: Make, share: float
) -> None:
    sent = make_series("P1", slices=6)
    real_pacs.fill(sent)
    with spoiling(of_whole_series(lambda body: body[: int(share * len(body))])):
        report = fetching.fetch(fetching.web(table=PROXIED))
    assert (report.complete, report.kept) == (True, 6)
    assert sorted(path.read_bytes() for path in fetching.stored()) == sorted(sent)


def test_a_pacs_that_says_ok_and_sends_nothing_is_named_and_asked_again_next_time(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1", slices=4))

    def nothing(path: str, answer: Answer) -> Answer:
        return (200, answer[1], b"") if "/series/" in path and b"DICM" in answer[2] else answer

    def no_content(path: str, answer: Answer) -> Answer:
        return (204, "", b"") if b"DICM" in answer[2] else answer

    for spoil, said in ((no_content, "sends nothing"), (nothing, "cut short")):
        with spoiling(spoil):
            report = fetching.fetch(fetching.web(table=PROXIED, attempts=2))
        assert (report.complete, report.kept, report.missing) == (False, 0, 4)
        assert said in report.problem
    assert fetching.fetch(fetching.web()).complete
    assert len(fetching.stored()) == 4


def test_an_instance_of_somebody_else_is_never_kept(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    wanted, other = make_series("P1"), make_series("P2", StudyDate="20250101")
    real_pacs.fill(wanted)

    def swap(path: str, answer: Answer) -> Answer:
        if b"DICM" not in answer[2]:
            return answer
        return 200, "application/dicom", other[0]

    with spoiling(swap):
        report = fetching.fetch(fetching.web(table=PROXIED))
    assert fetching.stored() == []
    assert set(report.refused) == {"not-asked-for"}
    assert not report.kept


def test_answers_about_studies_that_nobody_asked_for_are_left(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    """Some archives ignore a key that they do not know, and answer with everything."""
    real_pacs.fill(make_series("P1"))
    real_pacs.fill(make_series("P2", StudyDate="20200202"))
    everything = f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}/dicom-web/studies"

    def all_studies(path: str, answer: Answer) -> Answer:
        if not path.startswith("/dicom-web/studies?") or "offset=0" not in path:
            return answer
        with urllib.request.urlopen(everything) as found:
            return 200, "application/dicom+json", found.read()

    with spoiling(all_studies):
        report = fetching.fetch(fetching.web(table=PROXIED))
    assert (report.complete, report.studies, report.unasked) == (True, 1, 1)
    assert {str(dcmread(path).PatientID) for path in fetching.stored()} == {"P1"}


def test_a_uid_that_is_a_path_is_never_asked_for(fetching: Any, network: None) -> None:
    study = {"0020000D": {"vr": "UI", "Value": ["../../system"]}}
    asked: list[str] = []

    def climbing(path: str, answer: Answer) -> Answer:
        asked.append(path)
        return 200, "application/dicom+json", json.dumps([study]).encode()

    with spoiling(climbing):
        assert fetching.fetch(fetching.web(table=PROXIED)).studies == 0
    assert not [path for path in asked if ".." in path]


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ((200, "application/dicom+json", b"[" + b" " * (65 << 20)), "more than 67108864 bytes"),
        ((200, "application/dicom+json", b"[{"), "cannot be read"),
        ((200, "application/dicom+json", b'[1, "x", null]'), ""),
        ((200, "text/html", b"<html>Sign in</html>"), "cannot be read"),
        ((302, "text/html", b""), "sends elsewhere"),
        ((503, "text/html", b""), "answers 503: it is busy"),
        ((404, "text/html", b""), "answers 404; is .* url right"),
    ],
    ids=["endless", "cut", "odd", "sign-in", "redirect", "busy", "no service"],
)
def test_a_wrong_answer_to_a_question_is_said_in_words(
    fetching: Any, network: None, spoiled: Answer, said: str
) -> None:
    with spoiling(lambda *_: spoiled):
        report = fetching.fetch(fetching.web(table=PROXIED, attempts=2))
    assert report.error is None if not said else isinstance(report.error, PacsError)
    assert re.search(said, report.problem)
    assert "studies?" not in report.problem


def test_an_expired_certificate_is_refused_by_both_protocols(
    fetching: Any, network: None, make_series: Make, tmp_path: Path
) -> None:
    """Orthanc 1.10 on Debian 12 ends at the first HTTPS request: the proxy speaks TLS for it."""
    for days, works in ((-1, False), (30, True)):
        pem, key = certificate(tmp_path / f"tls{days}", days)
        secured = {
            "DicomTlsEnabled": True, "DicomTlsRemoteCertificateRequired": False,
            "DicomTlsCertificate": str(pem), "DicomTlsPrivateKey": str(key),
            "DicomTlsTrustedCertificates": str(pem),
        }  # fmt: skip
        web = DicomWeb(url=PROXIED.url.replace("http:", "https:"), ca=pem)
        dimse = replace(fetching.dimse().dimse, tls=True, ca=pem)
        with (
            real_pacs.orthanc(tmp_path / f"orthanc{days}", **secured),
            spoiling(lambda _, answer: answer, tls=(pem, key)),
        ):
            for archive in (fetching.web(table=web), fetching.dimse(table=dimse)):
                report = fetching.fetch(archive)
                assert (report.error is None) is works
                assert works or isinstance(report.error, PacsRefusedError)
                assert works or "certificate has expired" in report.problem


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """Write a self-signed certificate for loopback that ends in ``days`` days, and its key."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pacs")])
    today = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=30))
        .not_valid_after(today + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(real_pacs.HOST))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "pacs.pem", folder / "pacs.key"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, private


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_a_disk_that_fills_in_mid_retrieval_loses_nothing(
    fetching: Any, orthanc: Any, make_series: Make, kind: str
) -> None:
    """A real small disk: once it is larger, the fetch goes on where it stopped."""
    sent = make_series("P1", slices=12, size=256)
    real_pacs.fill(sent)
    disk = fetching.home / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        archive = getattr(fetching, kind)(path=disk / "store")
        report = fetching.fetch(archive)
        assert isinstance(report.error, NoRoomError)
        assert 0 < report.kept < 12
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        again = fetching.fetch(archive)
        assert (again.complete, report.kept + again.kept) == (True, 12)
        assert len(list((disk / "store").rglob("*.dcm"))) == 12
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_fetches_of_one_home_at_the_same_time_are_refused(fetching: Any, network: None) -> None:
    def inside(path: str, answer: Answer) -> Answer:
        with pytest.raises(RunError, match="another fetch of this home is running"):
            fetching.fetch(fetching.web())
        asked.append(path)
        return answer

    asked: list[str] = []
    with spoiling(inside):
        fetching.fetch(fetching.web(table=PROXIED))
    assert asked


def test_a_torn_line_of_the_state_is_dropped_and_another_damage_is_said(
    fetching: Any, orthanc: Any, make_series: Make
) -> None:
    real_pacs.fill(make_series("P1"))
    fetching.fetch(fetching.web())
    state = fetching.home / "state" / "fetched.jsonl"
    whole = state.read_bytes()
    state.write_bytes(whole[:-9])
    assert fetching.fetch(fetching.web()).complete
    state.write_bytes(b"{}\n" + whole)
    with pytest.raises(DamagedStateError, match="remove it: images are kept"):
        fetching.fetch(fetching.web())
    assert issubclass(DamagedStateError, FedradError)
