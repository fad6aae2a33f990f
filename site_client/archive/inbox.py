"""Where the bytes that a PACS sends land first: one file an instance, numbered, unread.

Caps what one instance may weigh and how full the disk may get; a file that was not received
whole is removed. Whether it is what was asked for, its name and its durability belong to
``site_client.retrieval.store``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fedrad.errors import ArchiveError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoomError(ArchiveError):
    """The disk that keeps what a PACS sends is full, or as full as it may get."""

    exit_code = 1

    def __init__(self, folder: str, keep_free: int) -> None:
        super().__init__(folder, keep_free)
        self.folder, self.keep_free = folder, keep_free

    def __str__(self) -> str:
        return (
            f"no room below {self.folder}: {self.keep_free / 2**30:.3g} GiB must stay free; "
            "make room (or see [archive] keep_free_gib) and fetch again: what came is kept"
        )


class TooLargeError(ArchiveError):
    """One instance weighs more than ``[archive] max_instance_mib`` allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"an instance has more than {self.limit / 2**20:.6g} MiB; it is left out "
            "(see [archive] max_instance_mib)"
        )


@dataclass(slots=True)
class Inbox:
    """A folder that takes instances in; ``files`` are those that came whole."""

    folder: Path
    most_bytes: int  # of one instance
    keep_free: int = 0  # bytes of the disk
    files: list[Path] = field(default_factory=list)

    def take(self, pieces: Iterable[bytes]) -> None:
        """Write one instance, piece by piece, and sum up.

        Raises:
            TooLargeError: It has more than ``most_bytes``.
            NoRoomError: The disk is full.
        """
        path = self.folder / f"{len(self.files)}.part"
        try:
            self._refuse_full()
            with path.open("wb") as file:
                for piece in self._counted(pieces):
                    file.write(piece)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise NoRoomError(str(self.folder.parent), self.keep_free) from None
            raise
        self.files.append(path)

    def _counted(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self.most_bytes:
                raise TooLargeError(self.most_bytes)
            yield piece

    def _refuse_full(self) -> None:
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize < self.keep_free:
            raise NoRoomError(str(self.folder.parent), self.keep_free)
