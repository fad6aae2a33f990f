"""List the files of an archive that is a folder, without opening any.

Links are not followed: an archive ends at its own folder. What cannot be listed is named with
a reason and stops nothing. What the files are belongs to the catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedrad.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file: its path relative to the archive, its size and when it last changed."""

    file: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds, sorted by path.

    Attributes:
        files: Every ordinary file.
        refused: Path and reason of everything else: ``symbolic-link``, ``special-file``,
            ``folder-not-readable``, ``name-not-text``.
    """

    files: list[ArchiveFile] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def list_archive(folder: Path) -> Listing:
    """List everything below ``folder``; what disappears meanwhile is left out.

    Raises:
        ArchiveError: The folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise ArchiveError(f"the archive {folder} is not a folder; correct [archive] path")
    try:
        waiting = [(folder, "")]
        next(os.scandir(folder), None)
    except OSError as error:
        raise ArchiveError(f"the archive {folder} cannot be listed: {error.strerror}") from None
    found = Listing()
    while waiting:
        inner, prefix = waiting.pop()
        waiting += _sort_in(found, inner, prefix)
    found.files.sort(key=lambda file: file.file)
    found.refused.sort()
    return found


def list_files(folder: Path) -> list[ArchiveFile]:
    """Return the ordinary files of ``list_archive``."""
    return list_archive(folder).files


def _sort_in(found: Listing, folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if not _is_text(name):
                    found.refused.append((_as_text(name), "name-not-text"))
                elif entry.is_dir(follow_symlinks=False):
                    yield folder / entry.name, f"{name}/"
                else:
                    _sort_in_file(found, entry, name)
    except FileNotFoundError:
        return
    except OSError:
        found.refused.append((prefix, "folder-not-readable"))


def _sort_in_file(found: Listing, entry: os.DirEntry[str], name: str) -> None:
    if entry.is_symlink():
        found.refused.append((name, "symbolic-link"))
    elif not entry.is_file(follow_symlinks=False):
        found.refused.append((name, "special-file"))
    else:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        found.files.append(ArchiveFile(name, status.st_size, status.st_mtime_ns))


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _as_text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
