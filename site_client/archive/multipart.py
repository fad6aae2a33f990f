"""Split a ``multipart/related`` body into its parts while it arrives (RFC 2046 sec. 5.1).

Holds one chunk and a delimiter's length in memory, whatever a part weighs. What the parts
are, and how large they may be, belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from site_client.archive.pacs import PacsError

_MOST_HEADER = 1 << 16
_BLANK_LINE = b"\r\n\r\n"


def iter_parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """Yield one iterator of bytes for each part; use it up before asking for the next.

    Args:
        chunks: The body, in pieces of any size.
        boundary: As the Content-Type names it, without the leading dashes.

    Raises:
        PacsError: The body ends before its last delimiter.
    """
    body = _Body(chunks)
    delimiter = b"\r\n--" + boundary
    _drop(body.until(delimiter))
    while not body.ends():
        _drop(body.until(_BLANK_LINE, most=_MOST_HEADER))
        part = body.until(delimiter)
        yield part
        _drop(part)


class _Body:
    """The bytes that are read and not yet handed out."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._kept = b"\r\n"  # a body may begin with its first delimiter

    def until(self, mark: bytes, *, most: int = 0) -> Iterator[bytes]:
        """Yield everything before ``mark``, at most ``most`` bytes if given, and skip it."""
        size = 0
        while (place := self._kept.find(mark)) < 0:
            ready = max(0, len(self._kept) - len(mark) + 1)
            size += ready
            if most and size > most:
                raise PacsError("the PACS sent a part whose header has no end; try again")
            if ready:
                yield self._kept[:ready]
            self._kept = self._kept[ready:] + self._next()
        before, self._kept = self._kept[:place], self._kept[place + len(mark) :]
        yield before

    def ends(self) -> bool:
        """Say whether the delimiter that was just read is the last one."""
        while len(self._kept) < 2:
            self._kept += self._next()
        return self._kept.startswith(b"--")

    def _next(self) -> bytes:
        for chunk in self._chunks:
            if chunk:
                return chunk
        raise PacsError("the PACS's answer was cut short; try again")


def _drop(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        pass
