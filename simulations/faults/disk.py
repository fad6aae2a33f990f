"""The disk of a machine that may stop at any instant, seen from outside the programs.

Whatever a program makes durable goes through a sync, a rename, a write to a descriptor or a
commit. Here each of these is a point with a number, at which its program can be ended, or
told that the disk is full; no program knows. A program that was ended reaches nothing any
more: what its ``finally`` would still write is refused as well.

A machine that loses power loses what was not synced: files go back to their last synced
content, names to those of their folder's last sync; folders themselves stay. SQLite syncs for
itself and is taken at its word, and the kernel's own order of writes is not modelled. Files
are told apart by inode, so that a memory file system, which gives no number twice, is needed.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from simulations.faults.events import Full, Kill

_ITS_OWN = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock")


class Killed(BaseException):
    """A program was ended; no handler of its own may answer."""


@dataclass(slots=True)
class Synced:
    """What of some folders would be there after a power cut."""

    content: dict[int, bytes] = field(default_factory=dict)  # inode -> as last synced
    names: dict[str, dict[str, int]] = field(default_factory=dict)  # folder -> name -> inode

    def take_all(self, root: Path) -> None:
        """Take everything under ``root`` as synced."""
        for folder, _, names in os.walk(root):
            self.names[folder] = {name: Path(folder, name).stat().st_ino for name in names}
            for name, inode in self.names[folder].items():
                self.content[inode] = Path(folder, name).read_bytes()

    def take(self, path: str, status: os.stat_result) -> None:
        """Take a folder's names, or a file's content, as synced."""
        if os.path.isdir(path):  # noqa: PTH112  # tens of thousands of calls
            with os.scandir(path) as found:
                self.names[path] = {e.name: e.inode() for e in found if not e.is_dir()}
        else:
            self.content[status.st_ino] = Path(path).read_bytes()

    def cut_power(self, root: Path) -> None:
        """Leave under ``root`` only what was synced."""
        for folder, _, names in os.walk(root):
            kept = self.names.get(folder, {})
            for name in {*names, *kept}:
                if not name.endswith(_ITS_OWN):
                    self._restore(Path(folder, name), kept.get(name))

    def _restore(self, path: Path, inode: int | None) -> None:
        if inode is None:
            path.unlink(missing_ok=True)
            return
        before = self.content.get(inode, b"")
        here = path.stat().st_ino if path.exists() else 0
        if here != inode:
            path.unlink(missing_ok=True)
        if here != inode or path.read_bytes() != before:
            path.write_bytes(before)
        self.names[str(path.parent)][path.name] = path.stat().st_ino
        self.content[path.stat().st_ino] = before


class Disk:
    """Counts points, ends programs at theirs, refuses writes, and cuts the power."""

    def __init__(self, events: tuple[Any, ...], root: Path) -> None:
        self._root = root
        self._kills = {(e.who, e.at): e for e in events if isinstance(e, Kill)}
        self._full = [e for e in events if isinstance(e, Full)]
        self.points: Counter[str] = Counter()  # program -> points so far
        self.fired: list[tuple[Kill | Full, str]] = []  # what happened, at what kind of point
        self.dead: dict[str, Kill | None] = {}
        self._who = ""
        self._cuts = any(kill.power for kill in self._kills.values())
        self._synced = Synced()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Stand between the programs and the disk."""
        if self._cuts:
            self._synced.take_all(self._root)
        event.listen(Engine, "commit", self._commit)
        try:
            with replaced(
                (os, "fsync", self._fsync),
                (os, "replace", self._replace(os.replace)),
                (os, "write", self._write(os.write)),
            ):
                yield
        finally:
            event.remove(Engine, "commit", self._commit)

    @contextmanager
    def acting(self, who: str) -> Iterator[None]:
        """Say whose program runs."""
        before, self._who = self._who, who
        try:
            yield
        finally:
            self._who = before

    def kill(self, who: str) -> None:
        """End a program at its next point, whatever the schedule says."""
        self.dead[who] = None

    def revive(self, who: str, *folders: Path) -> None:
        """Make a dead program ready to be started again; its machine may have lost power."""
        kill = self.dead.pop(who, None)
        if kill is not None and kill.power:
            for folder in folders:
                self._synced.cut_power(folder)

    def reached(self, what: str) -> None:
        """Count a point of the program that runs.

        Raises:
            Killed: It ends here, or has ended.
        """
        if not self._who:
            return
        if self._who in self.dead:
            raise Killed
        self.points[self._who] += 1
        kill = self._kills.get((self._who, self.points[self._who]))
        if kill is not None:
            self.dead[self._who] = kill
            self.fired.append((kill, what))
            raise Killed

    def _refused(self, what: str) -> bool:
        now = self.points[self._who]
        for full in self._full:
            if full.who == self._who and full.at <= now < full.at + full.lasts:
                self.fired.append((full, what))
                return True
        return False

    def _commit(self, _: Any) -> None:
        self.reached("commit")
        if self._refused("commit"):
            said = sqlite3.OperationalError("database or disk is full")
            raise OperationalError("COMMIT", {}, said)

    def _fsync(self, descriptor: int) -> None:
        """Take the place of the system's sync: what a power cut leaves is kept here."""
        self.reached("sync")
        if self._refused("sync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._cuts:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self._synced.take(str(path), os.fstat(descriptor))

    def _replace(self, system: Callable[..., None]) -> Callable[..., None]:
        def replace(source: Any, target: Any, **more: Any) -> None:
            self.reached("rename")
            system(source, target, **more)

        return replace

    def _write(self, system: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def write(descriptor: int, content: Any) -> int:
            before = len(self.fired)
            try:
                self.reached("write")
            except Killed:
                if len(self.fired) > before:  # in the middle of it
                    system(descriptor, content[: len(content) // 2])
                raise
            if self._refused("write"):
                return system(descriptor, content[: len(content) // 2])
            return system(descriptor, content)

        return write


@contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Put other values in the place of attributes for a while: (owner, name, value)."""
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
