"""Write a site's privacy ledger: the only code that does, one synced line at a time.

A line is on disk before a private step or release happens, so that whatever dies later
was counted. Lines and chain belong to ``fedrad.privacy.ledger``; whether a charge is
allowed is ``guard``'s decision, taken inside ``Journal.exclusive`` so that two processes
cannot both see the same room.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedrad import durable
from fedrad.clock import Clock, stamp
from fedrad.errors import LedgerError
from fedrad.privacy.ledger import Chain, Charge, Kind, Line, encode, parse_line, verify
from site_client.home import LEDGER

FILE = LEDGER


@dataclass(slots=True)
class _Known:
    """How much of the file was read and verified, and what shows that it is that file."""

    chain: Chain = field(default_factory=Chain)
    size: int = 0
    modified_ns: int = 0


class Journal:
    """The ledger file of one site home; safe across threads and processes."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._path = home / FILE
        self._clock = clock
        self._known = _Known()
        self._thread = threading.RLock()
        self._descriptor = -1

    @property
    def head(self) -> str:
        """The hash of the last line: the anchor a coordinator remembers; empty at first."""
        with self.exclusive():
            return self._known.chain.head

    def lines(self) -> tuple[Line, ...]:
        """Return every line, verified.

        Raises:
            LedgerError: The file is damaged; names the line and the way out.
        """
        with self.exclusive():
            return self._known.chain.lines

    def reserve(self, charge: Charge) -> Line:
        """Charge private steps before the first one; a crash from here on counts as spent.

        If a reservation of the same reply is open, its work died: it stays charged in
        full and this attempt is charged afresh, as ``reply_id#2`` and so on.

        Raises:
            AlreadyChargedError: The reply was committed; send the kept one again.
            LedgerError: The file is damaged or the disk refused; nothing may be trained.
        """
        return self._charge("reserve", charge)

    def release(self, charge: Charge) -> Line:
        """Charge one release of noised sums, in one line, before it leaves.

        Raises:
            AlreadyChargedError: It was released before; send the kept reply again.
            LedgerError: As for ``reserve``; nothing may leave.
        """
        return self._charge("release", charge)

    def commit(self, reservation: str, *, steps: int) -> Line:
        """Settle the newest open attempt at a reply on the steps really taken.

        Args:
            reservation: The reply_id that was reserved.
            steps: At most the steps reserved.

        Raises:
            LedgerError: No attempt is open, or more steps than reserved.
        """
        with self.exclusive():
            chain = self._known.chain
            reserved = chain.newest_open(reservation)
            return self._append(chain.commit_line(reserved, steps=steps, time=stamp(self._clock)))

    def release_afresh(self, charge: Charge) -> Line:
        """Charge a release, once more if it was charged and its work died before it was kept.

        What was charged before stays charged; this attempt is ``reply_id#2`` and so on.

        Raises:
            LedgerError: As for ``reserve``; nothing may leave.
        """
        with self.exclusive():
            name = self._known.chain.unused_attempt(charge.reservation, charge.stream)
            return self._charge("release", replace(charge, reservation=name))

    def settle(self, reservation: str, *, steps: int) -> None:
        """Commit the newest attempt at a reply if it is still open; else do nothing.

        Raises:
            LedgerError: More steps than reserved, or as for ``reserve``.
        """
        with self.exclusive():
            if self._known.chain.is_open(reservation):
                self.commit(reservation, steps=steps)

    def adopt(self, lost: Line, *, steps: int) -> Line:
        """Charge a line that only a coordinator still has, under its own name.

        Args:
            lost: The line as the coordinator saw it.
            steps: How many of its steps no other line charges.

        Raises:
            LedgerError: It was adopted before, or as for ``reserve``.
        """
        with self.exclusive():
            chain = self._known.chain
            return self._append(chain.adoption_line(lost, steps=steps, time=stamp(self._clock)))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the ledger against every other thread and process; blocks may be nested.

        Read ``lines``, decide and ``reserve`` inside one such block, and nobody spends in
        between.

        Raises:
            LedgerError: The file is damaged or cannot be opened.
        """
        with self._thread:
            if self._descriptor >= 0:
                yield
                return
            self._descriptor = self._open()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                self._refresh()
                yield
            finally:
                os.close(self._descriptor)  # gives the lock back
                self._descriptor = -1

    def _charge(self, kind: Kind, charge: Charge) -> Line:
        with self.exclusive():
            chain = self._known.chain
            return self._append(chain.charge_line(kind, charge, time=stamp(self._clock)))

    def _open(self) -> int:
        new = not self._path.exists()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            if new:
                durable.sync_folder(self._path.parent)
        except OSError as error:
            raise LedgerError(f"{FILE} cannot be opened: {error.strerror}") from None
        return descriptor

    def _append(self, line: Line) -> Line:
        """Write one line, whole or not at all, and take it into the chain."""
        self._known.chain.refuse(line)
        text = encode(line) + b"\n"
        try:
            written = os.write(self._descriptor, text)
            if written != len(text):
                raise OSError(0, f"{written} of {len(text)} bytes written")
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # what stays is mended when the ledger is opened next
                os.ftruncate(self._descriptor, self._known.size)
            raise LedgerError(
                f"{FILE} cannot be written, so nothing may be spent: {error.strerror}; "
                "make room on the disk and start again"
            ) from None
        self._known.chain.append(line)
        self._remember()
        return line

    def _refresh(self) -> None:
        """Take in what other processes wrote; read everything again if it was not appended."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) == (self._known.size, self._known.modified_ns):
            return
        before, size = self._known.chain.lines, self._known.size
        if status.st_size <= size:
            self._known = _Known()
        try:
            self._take_in(_read_from(self._descriptor, self._known.size))
            if self._known.chain.lines[: len(before)] != before:
                raise LedgerError("lines that were in it are gone")
        except (LedgerError, OSError) as error:
            self._known = _Known(chain=verify(before), size=size, modified_ns=-1)
            raise LedgerError(
                f"{FILE} is damaged: {error}. Keep the file, restore it from a backup that "
                "ends in the head the coordinator last saw, or from an older one and take in "
                "what came after with fedrad-site ledger adopt; then start again. Do not train "
                "before"
            ) from None
        self._remember()

    def _take_in(self, added: bytes) -> None:
        whole, newline, torn = added.rpartition(b"\n")
        for text in whole.split(b"\n") if newline else ():
            self._known.chain.append(parse_line(text))
        if torn:
            self._mend(torn)

    def _mend(self, torn: bytes) -> None:
        """Settle a last line without its newline: its write never returned.

        A complete line is kept and gets its newline. Of any other, a copy is set aside
        and the file is cut back: nothing private had begun, for that waits for the sync;
        and if it was a commit, its reservation stays open and counts in full.
        """
        try:
            line = parse_line(torn)
        except LedgerError:
            name = f"{FILE}.torn-{hashlib.sha256(torn).hexdigest()[:12]}"
            durable.write_bytes(self._path.with_name(name), torn)
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - len(torn))
        else:
            self._known.chain.append(line)
            os.write(self._descriptor, b"\n")
        os.fsync(self._descriptor)

    def _remember(self) -> None:
        status = os.fstat(self._descriptor)
        self._known.size, self._known.modified_ns = status.st_size, status.st_mtime_ns


def _read_from(descriptor: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()
