"""Open a file of the archive: an ordinary one, no larger than allowed, and the one that was listed.

A name can come to stand for something else between the listing and the reading: a link, a
pipe that nobody writes to, a file that is still being copied. What is opened is looked at
through its descriptor, so that it is what is read.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from site_client.archive.effort import limits
from site_client.archive.faults import UnusableFileError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MIB = 2**20

Listed = tuple[int, int]  # size, and time of change in ns, that a listing saw


@contextmanager
def open_ordinary(path: Path, listed: Listed | None = None) -> Iterator[io.FileIO]:
    """Open an ordinary file without following a link.

    Args:
        path: The file.
        listed: If given, the file must be the one that was listed, before and after.

    Raises:
        UnusableFileError: ``changing``: it is gone, or not what was listed, or no ordinary
            file; ``not-readable``: the system refuses; ``too-large``.
    """
    with _open(path) as file:
        refuse_too_many_bytes(_size(file, listed))
        yield file
        _size(file, listed)


def content_of(path: Path, listed: Listed | None = None) -> bytes:
    """Return the bytes of an ordinary file; errors as ``open_ordinary``."""
    with open_ordinary(path, listed) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def refuse_too_many_bytes(size: int) -> None:
    """Raise ``UnusableFileError("too-large")`` if a file of ``size`` bytes may not be read."""
    if size > limits().file_mib * _MIB:
        raise UnusableFileError("too-large", f"{size} bytes")


def _open(path: Path) -> io.FileIO:
    try:
        return io.FileIO(os.open(path, _FLAGS), "r")
    except FileNotFoundError:
        raise UnusableFileError("changing") from None
    except OSError:
        raise UnusableFileError("not-readable") from None


def _size(file: io.FileIO, listed: Listed | None) -> int:
    status = os.fstat(file.fileno())
    found = (status.st_size, status.st_mtime_ns)
    if not stat.S_ISREG(status.st_mode) or (listed is not None and found != tuple(listed)):
        raise UnusableFileError("changing")
    return status.st_size
