"""List the files of an archive that is a folder, without opening any.

Links are not followed: an archive ends at its own folder. What the files are belongs to the
catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedrad.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file: its path relative to the archive, its size and when it last changed."""

    file: str
    bytes: int
    mtime_ns: int


def list_files(folder: Path) -> list[ArchiveFile]:
    """Return every ordinary file below ``folder``, sorted by path.

    Raises:
        ArchiveError: The folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise ArchiveError(f"the archive {folder} is not a folder; correct [archive] path")
    try:
        return sorted(_iter_files(folder, ""), key=lambda found: found.file)
    except OSError as error:
        raise ArchiveError(f"the archive {folder} cannot be listed: {error.strerror}") from None


def _iter_files(folder: Path, prefix: str) -> Iterator[ArchiveFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _iter_files(folder / entry.name, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                yield ArchiveFile(name, status.st_size, status.st_mtime_ns)
