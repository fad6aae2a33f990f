"""Read what many files say of themselves, in worker processes and by the chunk.

One request a file would cost more than reading it. When a chunk ends its worker, its files are
read again one by one, so that the reason is given to the file that earned it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from site_client.archive.facts import Facts
from site_client.archive.faults import UnusableFileError
from site_client.archive.folder import ArchiveFile
from site_client.archive.readers import Answer, Outcome, Readers, Request

CHUNK = 128
_READ = "site_client.archive.facts:read_chunk"
_CONTENT = "site_client.archive.content:digest_content"
_DIGEST = "site_client.archive.facts:digest_chunk"

Told = tuple[ArchiveFile, Facts | UnusableFileError]


def iter_facts(
    readers: Readers, folder: Path, files: Sequence[ArchiveFile], keywords: Sequence[str]
) -> Iterator[Told]:
    """Yield what each file says, or why it cannot be used; as they get done.

    Raises:
        RunError: Worker processes cannot be started.
    """
    chunks = [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]
    suspects: list[ArchiveFile] = []
    asked = (_request(folder, chunk, keywords) for chunk in chunks)
    for number, outcome in readers.as_done(asked):
        if isinstance(outcome, Answer):
            yield from zip(chunks[number], map(_facts, outcome.result), strict=True)
        else:
            suspects += chunks[number]
    asked = (_request(folder, [file], keywords) for file in suspects)
    for number, outcome in readers.as_done(asked):
        yield suspects[number], _single(outcome)


def iter_digests(
    readers: Readers, folder: Path, files: Sequence[ArchiveFile]
) -> Iterator[tuple[ArchiveFile, str]]:
    """Yield the SHA-256 of each file, as they get done; empty where it cannot be had."""
    chunks = [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]
    asked = (Request(_DIGEST, _places(folder, chunk), files=len(chunk)) for chunk in chunks)
    for number, outcome in readers.as_done(asked):
        chunk = chunks[number]
        found = outcome.result if isinstance(outcome, Answer) else [""] * len(chunk)
        yield from zip(chunk, map(str, found), strict=True)


def iter_contents(
    readers: Readers, folder: Path, files: Sequence[ArchiveFile]
) -> Iterator[tuple[ArchiveFile, str]]:
    """Yield the digest of what each file says (``content``); empty where it cannot be had."""
    asked = (Request(_CONTENT, _one(folder, file)) for file in files)
    for number, outcome in readers.as_done(asked):
        yield files[number], str(outcome.result) if isinstance(outcome, Answer) else ""


def _one(folder: Path, file: ArchiveFile) -> dict[str, Any]:
    return {"folder": str(folder), "file": (file.file, file.bytes, file.mtime_ns)}


def _places(folder: Path, files: Sequence[ArchiveFile]) -> dict[str, Any]:
    listed = [(found.file, found.bytes, found.mtime_ns) for found in files]
    return {"folder": str(folder), "files": listed}


def _request(folder: Path, files: Sequence[ArchiveFile], keywords: Sequence[str]) -> Request:
    arguments = _places(folder, files) | {"keywords": list(keywords)}
    return Request(_READ, arguments, files=len(files))


def _single(outcome: Outcome) -> Facts | UnusableFileError:
    return outcome if isinstance(outcome, UnusableFileError) else _facts(outcome.result[0])


def _facts(told: list[Any]) -> Facts | UnusableFileError:
    if len(told) == 2:
        return UnusableFileError(str(told[0]), str(told[1]))
    values, references, fault = told
    return Facts(values, references, fault)
