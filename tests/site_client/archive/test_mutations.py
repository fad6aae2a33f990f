"""Real files, damaged at random: each is read or refused, alike each time, and stops nothing."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from site_client.archive import facts as archive_facts
from site_client.archive.elements import Unusual
from site_client.archive.facts import Facts
from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.archive.folder import list_archive
from site_client.archive.readers import Answer, Readers, Request
from site_client.archive.scan import iter_facts
from site_client.limits import Reading
from site_client.rows import KEYWORDS

SOURCES = 20
LIMITS = Reading(seconds=5)  # generous: what is tested here is not the limit


def sources(folder: Path) -> list[Path]:
    """Return 20 small files, as different as their names."""
    small = sorted(path for path in folder.iterdir() if 500 < path.stat().st_size < 40_000)
    return small[:: len(small) // SOURCES][:SOURCES]


def damaged(content: bytes, chance: np.random.Generator) -> bytes:
    """Flip bytes, cut, repeat or blank a stretch, or set a length to its largest value."""
    found = bytearray(content)
    at, length = int(chance.integers(len(found))), int(chance.integers(1, 64))
    kind = chance.integers(5)
    if kind == 0:
        for place in chance.integers(len(found), size=length):
            found[place] = chance.integers(256)
    elif kind == 1:
        del found[at:]
    elif kind == 2:
        found[at:at] = found[at : at + length]
    elif kind == 3:
        found[at : at + length] = bytes(length)
    else:
        found[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(found)


def write_mutations(folder: Path, originals: list[Path], each: int) -> None:
    """Write ``each`` damaged copies of every file; headers are hit more often than pixels."""
    chance = np.random.default_rng(2026)
    for original in originals:
        content = original.read_bytes()
        for number in range(each):
            head = content[: int(chance.integers(200, 2000))]
            part = head if number % 2 else content
            (folder / f"{original.stem}-{number}.dcm").write_bytes(
                damaged(part, chance) + content[len(part) :]
            )


def headers(folder: Path) -> dict[str, Any]:
    """Return what the catalogue's reader says of each file."""
    files = list_archive(folder).files
    with Readers(LIMITS) as readers:
        told = iter_facts(readers, folder, files, KEYWORDS)
        return {file.file: getattr(facts, "reason", facts) for file, facts in told}


def pixels(folder: Path, files: list[str]) -> dict[str, str]:
    """Return the digest of each image, or why there is none."""
    places = [(file, (folder / file).stat()) for file in files]
    requests = [
        Request(
            "site_client.unit_files:read_image_unit",
            {"folder": str(folder), "files": [(file, s.st_size, s.st_mtime_ns, "")],
             "truths": [], "labels": {}},
        )
        for file, s in places
    ]  # fmt: skip
    with Readers(LIMITS) as readers:
        return dict(zip(files, map(said, readers.each(requests)), strict=True))


def said(outcome: Any) -> str:
    if isinstance(outcome, UnusableFileError):
        return outcome.reason
    assert isinstance(outcome, Answer)
    told = outcome.result.get("refused")
    return told[0] if told else hashlib.sha256(outcome.arrays[0].tobytes()).hexdigest()


def check(folder: Path, real: Path, each: int) -> dict[str, Any]:
    write_mutations(folder, sources(real), each)
    first = headers(folder)
    assert first == headers(folder)
    assert len(first) == SOURCES * each
    assert not {"crashed", "too-slow"} & {said for said in first.values() if isinstance(said, str)}
    read = [file for file, found in first.items() if not isinstance(found, str)]
    fine = [file for file in read if not first[file].fault]
    seen = pixels(folder, fine)
    assert seen == pixels(folder, fine)
    assert "too-slow" not in seen.values()
    return first


def test_damaged_real_files_are_read_alike_or_refused_alike(
    tmp_path: Path, dicom_files: Path
) -> None:
    first = check(tmp_path, dicom_files, 12)
    for file, found in first.items():
        if not isinstance(found, str):
            assert by_pydicom((tmp_path / file).read_bytes()) in (*same(found), "refused"), file


def same(found: Facts) -> tuple[Facts, ...]:
    """Return what pydicom may say: it does not tell a file without pixels from one cut short."""
    cut = (dataclasses.replace(found, fault="no-pixels"),) if found.fault == "truncated" else ()
    return (found, *cut)


def by_pydicom(content: bytes) -> Any:
    """Return what the parser says that the fast walk stands in for."""
    try:
        with foreign_bytes("refused"):
            return archive_facts._parsed(content, KEYWORDS)
    except UnusableFileError:
        return "refused"


def test_the_walk_says_of_real_files_what_pydicom_says(dicom_files: Path) -> None:
    walked = 0
    for path in sorted(dicom_files.iterdir()):
        content = path.read_bytes()
        try:
            found = archive_facts._facts(content, KEYWORDS, len(content))
        except (Unusual, UnusableFileError):
            continue
        assert found == by_pydicom(content), path.name
        walked += 1
    assert walked >= 200


@pytest.mark.long
def test_ten_thousand_damaged_real_files(tmp_path: Path, dicom_files: Path) -> None:
    check(tmp_path, dicom_files, 10_000 // SOURCES)
