"""Processes that an operator's command starts and keeps: watched, restarted, never left behind.

Both ends of a deployment use it. A child is asked to end when the command that started it
dies, however it dies, and whatever a dead child has left behind ends with it. Nothing here
knows what a child does. Times are seconds.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

# For programs that pass tensors on: what is freed goes back to the system (mallopt(3)). One
# that trains would pay for it, since it frees and takes the same memory at every step.
GIVES_MEMORY_BACK = MappingProxyType(
    {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_ARENA_MAX": "2"}
)
LONGEST_LOG = 64 << 20  # bytes
_log = logging.getLogger(__name__)
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)
_STEADY_S = 60.0  # a child that lived this long begins with the shortest wait again


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to start."""

    name: str
    command: Sequence[str]
    log: Path  # appended to
    environment: Mapping[str, str] = field(default_factory=dict)  # besides this process's
    ends_with: signal.Signals = signal.SIGTERM  # what it is asked to end with
    grace_s: float = 10.0  # after which it is ended
    read: bool = False  # its standard output is ours to read
    write: bool = False  # its standard input is ours to write
    given: bytes | None = None  # all that it reads from its standard input
    memory: int = 0  # bytes that it may have for itself (RLIMIT_DATA); 0: no limit of ours
    advice: str = ""  # what else to do than to read its log when it ended


class Child:
    """One process in a group of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.started_s = plan, time.monotonic()
        plan.log.parent.mkdir(parents=True, exist_ok=True)
        with plan.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own command
                list(plan.command),
                stdin=subprocess.PIPE if plan.write or plan.given else subprocess.DEVNULL,
                stdout=subprocess.PIPE if plan.read else log,
                stderr=log,
                env={**os.environ, **plan.environment},
                start_new_session=True,
                preexec_fn=_prepared(os.getpid(), plan),  # noqa: PLW1509
            )
        if plan.given is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.write(plan.given)
                self.process.stdin.close()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def ask_to_end(self) -> None:
        """Send its signal; returns at once."""
        with suppress(ProcessLookupError):
            self.process.send_signal(self.plan.ends_with)

    def end(self) -> None:
        """Ask it to end, wait its grace, end it and all that it started."""
        if self.alive:
            self.ask_to_end()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.plan.grace_s)
        self.sweep()
        self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()

    def sweep(self) -> None:
        """End whatever is left of its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Keeper:
    """Keeps one child running: starts it again after waits that double up to a limit."""

    def __init__(self, plan: Plan, *, shortest_s: float = 0.5, longest_s: float = 15.0) -> None:
        self.plan = plan
        self.child: Child | None = None
        self._shortest_s, self._longest_s = shortest_s, longest_s
        self._wait_s, self._next_s = shortest_s, 0.0
        self.starts = 0

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self.child is not None and self.child.alive

    def tend(self) -> bool:
        """Start the child if it is not running and its wait is over; whether it was started."""
        if self.alive:
            return False
        self._bury()
        if time.monotonic() < self._next_s:
            return False
        self.child = Child(self.plan)
        self.starts += 1
        _log.info("process started", extra={"program": self.plan.name, "start": self.starts})
        return True

    def end(self) -> None:
        """End the child; it is not started again before ``tend`` is called."""
        if self.child is not None:
            self.child.end()
            self.child = None

    def _bury(self) -> None:
        if self.child is None:
            return
        lived_s = time.monotonic() - self.child.started_s
        status = self.child.process.returncode
        self.child.sweep()
        self.child.end()
        self.child = None
        self._wait_s = self._shortest_s if lived_s > _STEADY_S else self._wait_s
        self._next_s = time.monotonic() + self._wait_s
        said = (self.plan.name, status, self._wait_s, self.plan.log, self.plan.advice)
        _log.warning("%s ended with status %s; started again in %.1f s; see %s%s", *said)
        self._wait_s = min(2 * self._wait_s, self._longest_s)


class Stop:
    """Whether a person or the system has asked this program to end (Ctrl-C, SIGTERM, SIGHUP)."""

    def __init__(self) -> None:
        self.asked = False
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, self._ask)

    def _ask(self, number: int, _: object) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # twice: do not wait for anything
        self.asked = True


def keep_logs_short(folder: Path, *, most: int = LONGEST_LOG) -> None:
    """Move what a folder's ``*.log`` files hold to ``*.log.1`` where they are over ``most`` bytes.

    The programs go on writing to the same files, which they opened for appending; a line that
    is written in between may be lost. What was in ``*.log.1`` goes. A disk without room for
    the copy ends no program: the log stays as it is.
    """
    for path in folder.glob("*.log"):
        with suppress(OSError):
            if path.stat().st_size > most:
                shutil.copyfile(path, path.with_name(f"{path.name}.1"))
                os.truncate(path, 0)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _prepared(parent: int, plan: Plan) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(plan.ends_with))
        if plan.memory:
            resource.setrlimit(resource.RLIMIT_DATA, (plan.memory, plan.memory))
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return prepare
