"""Whatever lies in an archive: no crash, and a reason that is true for every file."""

import gzip
import multiprocessing
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from site_client.archive.facts import read_facts
from site_client.archive.faults import UnusableFileError
from site_client.archive.folder import list_archive
from site_client.archive.readers import Readers, Request
from site_client.catalogue import look_at, update_catalogue
from site_client.cli import app
from site_client.export import export
from site_client.limits import Reading

SQUARE = np.arange(256, dtype=np.uint16).reshape(16, 16)
PIXELS = b"\xe0\x7f\x10\x00OW\0\0"  # where the pixels of an explicit data set begin
SYNTAX, DATA_SET = b"\x02\0\x10\0UI", b"\x08\0\x16\0UI"
NOBODY = 65534


@pytest.fixture
def whole(tmp_path: Path, write_image: Any) -> bytes:
    """The bytes of a good file, which the others are made of."""
    write_image(SQUARE, "P0").save_as(tmp_path / "whole", enforce_file_format=True)
    return (tmp_path / "whole").read_bytes()


def sequences(levels: int) -> bytes:
    """Return sequences of undefined length inside each other."""
    begin = struct.pack("<HH2sHIHHI", 0x40, 0x275, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    return begin * levels + struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) * levels


def before_pixels(content: bytes, more: bytes) -> bytes:
    at = content.index(PIXELS)
    return content[:at] + more + content[at:]


def element(vr: bytes, length: int) -> bytes:
    """Return the head of a private element."""
    return struct.pack("<HH2sHI", 0x7FDF, 0x1001, vr, 0, length)


def deflated(content: bytes, more: int) -> bytes:
    """Return the file with ``more`` zeros before its pixels, deflated as a whole."""
    at = content.index(DATA_SET)
    data = before_pixels(content, element(b"OB", more) + bytes(more))[at:]
    stream = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    uid, longer = ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian
    old = SYNTAX + struct.pack("<H", 20) + uid.encode() + b"\0"
    new = SYNTAX + struct.pack("<H", 22) + longer.encode()
    assert old in content[:at]
    return content[:at].replace(old, new) + stream.compress(data) + stream.flush()


def strange_files(whole: bytes) -> dict[str, tuple[bytes, str]]:
    """Return contents, and the reason that is true of each."""
    noise = np.random.default_rng(0).bytes(4000)
    return {
        "empty": (b"", "not-dicom"),
        "four bytes": (b"DICM", "not-dicom"),
        "zeros": (bytes(5000), "not-dicom"),
        "gzip": (gzip.compress(whole), "not-dicom"),
        "zip": (b"PK\3\4" + bytes(300), "not-dicom"),
        "png": (b"\x89PNG\r\n\x1a\n" + bytes(300), "not-dicom"),
        "pdf": (b"%PDF-1.7\n" + bytes(300), "not-dicom"),
        "a program in the preamble": (b"MZ" + whole[2:], ""),
        "nothing behind the preamble": (bytes(128) + b"DICM", "syntax-missing"),
        "noise behind the preamble": (bytes(128) + b"DICM" + noise, "syntax-missing"),
        "cut in an element": (whole[: whole.index(PIXELS) - 3], "truncated"),
        "cut in the pixels": (whole[:-40], "truncated"),
        "an element without end": (before_pixels(whole, element(b"OB", 0xFFFFFFFE)), "truncated"),
        "undefined length": (before_pixels(whole, element(b"UN", 0xFFFFFFFF)), "unreadable"),
        "thousand sequences": (before_pixels(whole, sequences(1000)), "too-deep"),
        "deflated": (deflated(whole, 1000), ""),
        "deflated bomb": (deflated(whole, 20 << 20), "too-large"),
        "deflated and cut": (deflated(whole, 1 << 20)[:-600], "truncated"),
    }


def test_strange_contents_have_true_reasons_in_the_catalogue(
    site: Any, site_toml: str, whole: bytes
) -> None:
    site.settings(f"{site_toml}[reading]\ninflated_mib = 4\n")
    wanted = {}
    for name, (content, wanted[name]) in strange_files(whole).items():
        (site.archive / name).write_bytes(content.replace(b"P0", name[-2:].encode()))
    assert update_catalogue(site.home).set_index("file")["fault"].to_dict() == wanted


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535, "NumberOfFrames": 100}, "too-large"),
        ({"NumberOfFrames": 2_000_000_000}, "too-large"),
        ({"Rows": 60000}, "truncated"),
        ({"Rows": 0}, "no-pixels"),
        ({"BitsAllocated": 64}, "truncated"),
    ],
)
def test_a_header_that_claims_what_is_not_there_is_set_aside(
    site: Any, write_image: Any, said: dict[str, int], reason: str
) -> None:
    site.add(write_image(SQUARE, "P1", **said), "x.dcm")
    assert list(look_at(site.archive)["reason"]) == [reason]


NOT_TOLD = {"SOPInstanceUID": ("UI", b"")}  # a file that is set aside before it is counted
DRAWING = {"Modality": ("CS", b"RTSTRUCT")}  # it needs no pixels
BEYOND_ASCII = {"PatientSex": ("CS", b"\xff ")}  # makes the character set count


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (NOT_TOLD | {"Rows": ("US", b"\1\0\2\0")}, "unreadable"),
        (DRAWING | {"Rows": ("US", b"\1\0\2\0")}, "unreadable"),
        (NOT_TOLD | {"NumberOfFrames": ("IS", b"9" * 30)}, "unreadable"),
        (DRAWING | {"Rows": ("UV", b"\xff" * 8)}, "unreadable"),
        (BEYOND_ASCII | {"SpecificCharacterSet": ("CS", b"utf_7 "), "PatientID": ("LO", b"+2AA-")},
         "unreadable"),
        (BEYOND_ASCII | {"SpecificCharacterSet": ("CS", b"unicode_escape"),
                         "Manufacturer": ("LO", b"\\ud800 ")}, "unreadable"),
    ],
)  # fmt: skip
def test_values_that_no_table_can_hold_set_a_file_aside_and_stop_nothing(
    site: Any, write_image: Any, said: dict[str, tuple[str, bytes]], reason: str
) -> None:
    """Python reads ``unicode_escape`` as a character set, and half a character out of it."""
    file = write_image(SQUARE, "P1")
    for keyword, (vr, value) in said.items():
        file[keyword] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
    file.save_as(site.archive / "bad.dcm", enforce_file_format=False)
    site.image("P2", "good.dcm")
    assert update_catalogue(site.home)["reason"].tolist() == [reason, ""]
    assert export(site.archive, site.home.parent / "copies", site.home).written >= 1


def large_inside(stream: bytes, side: int) -> bytes:
    """Return a JPEG 2000 stream that says of itself that it is ``side`` x ``side`` (SIZ, A.5.1)."""
    at = stream.index(b"\xff\x51") + 6
    size = struct.pack(">II", side, side)
    return stream[:at] + size + stream[at + 8 : at + 16] + size + stream[at + 24 :]


@pytest.mark.parametrize("side", [3000, 60_000])
def test_pixels_that_are_larger_than_the_header_says_cost_no_more_than_allowed(
    site: Any, write_image: Any, side: int
) -> None:
    """A decoder goes by the stream: 60,000 squared would be gigabytes."""
    file = write_image(np.kron(SQUARE, np.ones((4, 4), np.uint16)), "P1")
    file.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    path = site.add(file, "x.dcm")
    path.write_bytes(large_inside(path.read_bytes(), side))
    assert list(look_at(site.archive)["fault"]) == [""]
    request = Request("site_client.archive.instances:stored_values", {"path": str(path)})
    with Readers(Reading(memory_gib=0.5)) as readers, pytest.raises(UnusableFileError) as error:
        readers.one(request)
    assert error.value.reason in ("pixels-unreadable", "too-large", "too-slow")


def test_what_is_no_file_is_named_in_the_catalogue_and_among_copies(site: Any) -> None:
    os.mkfifo(site.archive / "pipe")
    (site.archive / "loop").symlink_to(site.archive)
    (site.archive / "itself").symlink_to(site.archive / "itself")
    (site.archive / "out").symlink_to("/etc/hostname")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(site.archive / "socket"))
        found = export(site.archive, site.home.parent / "copies", site.home)
        assert update_catalogue(site.home)["file"].tolist() == sorted(site.reasons())
    assert found.refused == {"special-file": 2, "symbolic-link": 3}
    assert site.reasons() == {
        "pipe": "special-file", "socket": "special-file",
        "loop": "symbolic-link", "itself": "symbolic-link", "out": "symbolic-link",
    }  # fmt: skip


def test_a_device_is_never_opened(site: Any) -> None:
    """Reading ``/dev/zero`` would never end."""
    try:
        os.mknod(site.archive / "zero", 0o20644, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert list(look_at(site.archive)["reason"]) == ["special-file"]


def test_names_that_a_screen_would_obey_are_shown_as_they_are(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["two\nlines", "\x1b[2Jblank", 'comma,"quote"', "umlaut ü"]
    for name in names:
        (site.archive / name).write_bytes(b"")
    update_catalogue(site.home)
    assert sorted(site.reasons()) == sorted(names)
    with pytest.raises(SystemExit):
        app(["quarantine", "not-dicom", "--home", str(site.home)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:] == ["\\x1b[2Jblank", 'comma,"quote"', "two\\nlines", "umlaut ü"]


def test_what_the_user_may_not_read_is_named(site: Any) -> None:
    """Root may read everything, so that somebody else looks here."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    site.image("P1", "a.dcm")
    site.image("P1", "closed/b.dcm")
    site.image("P1", "c.dcm")
    (site.archive / "a.dcm").chmod(0)
    (site.archive / "closed").chmod(0)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    look = context.Process(target=_look_as_nobody, args=(site.archive, answers))
    look.start()
    assert answers.get() == ([("closed/", "folder-not-readable")], ["not-readable", ""])
    look.join()


def _look_as_nobody(folder: Path, answers: Any) -> None:
    os.chdir(folder)  # nobody may not pass through the folders above
    os.setresuid(NOBODY, NOBODY, NOBODY)
    listing = list_archive(Path())
    said = [_reason(Path(f.file), (f.bytes, f.mtime_ns)) for f in listing.files]
    answers.put((listing.refused, said))


def _reason(path: Path, listed: tuple[int, int]) -> str:
    try:
        return read_facts(path, ("SOPInstanceUID",), listed).fault.replace("no-pixels", "")
    except UnusableFileError as error:
        return error.reason


def test_a_file_that_grows_while_it_is_copied_waits_for_the_next_call(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is listed, then a file grows as if it were still being sent."""
    site.image("P1", "1.dcm")
    path = site.archive / "1.dcm"

    def list_then_grow(folder: Path) -> Any:
        listing = list_archive(folder)
        path.write_bytes(path.read_bytes() + b"\0\0")
        return listing

    with monkeypatch.context() as patch:
        patch.setattr("site_client.export.list_archive", list_then_grow)
        found = export(site.archive, site.home.parent / "copies", site.home)
    assert (found.written, found.refused) == (0, {"changing": 1})
    assert export(site.archive, site.home.parent / "copies", site.home).written == 1


def test_no_limit_can_be_switched_off() -> None:
    for name in Reading.__dataclass_fields__:
        with pytest.raises(Exception, match="greater than 0"):
            Reading(**{name: 0})
