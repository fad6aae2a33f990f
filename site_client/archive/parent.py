"""The asking side of ``nursery``: one of it for each process that reads, started when needed."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

from fedrad.errors import RunError
from site_client.archive.channel import BrokenChannelError, receive

_PROGRAM = "site_client.archive.nursery"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Nursery:
    """The process that workers are forked from."""

    def __init__(self) -> None:
        """Start it; its imports go on while the caller does something else."""
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            number = str(theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, our module
                [sys.executable, "-I", "-m", _PROGRAM, number],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print what they stumble over
                env=_ONE_THREAD
                | {name: os.environ[name] for name in _PASSED_ON & os.environ.keys()},
                cwd="/",
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def fork(self, preload: tuple[str, ...]) -> tuple[int, socket.socket]:
        """Fork a worker that has imported ``preload``; return its process and its channel.

        Raises:
            BrokenChannelError: The nursery is gone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            word = f"fork {','.join(preload)}"
            return self._ask(word, [theirs.fileno()]), ours

    def end(self, worker: int) -> None:
        """Kill a worker; if the nursery is gone, its workers are too."""
        with suppress(BrokenChannelError):
            self._ask(f"end {worker}", [])

    def bury(self, worker: int) -> int:
        """Return the signal that ended a worker whose channel is closed; 0 if none is known."""
        try:
            return self._ask(f"bury {worker}", [])
        except BrokenChannelError:
            return 0

    def stop(self) -> None:
        """End it and its workers."""
        if self.owner == os.getpid():
            self._control.close()
            self._process.kill()
            self._process.wait()

    def _ask(self, word: str, descriptors: list[int]) -> int:
        with self._lock:
            try:
                socket.send_fds(self._control, [word.encode("ascii")], descriptors)
            except OSError:
                raise BrokenChannelError from None
            return int(receive(self._control)[0])


class _Kept:
    nursery: Nursery | None = None
    lock = threading.Lock()


def the_nursery() -> Nursery:
    """Return this process's nursery, starting one if there is none.

    Raises:
        RunError: The system refuses another process.
    """
    with _Kept.lock:
        kept = _Kept.nursery
        if kept is None or kept.owner != os.getpid() or not kept.alive:
            try:
                kept = Nursery()
            except OSError as error:
                raise RunError(f"no process to read files in: {error.strerror}") from None
            atexit.register(kept.stop)
            _Kept.nursery = kept
        return kept
