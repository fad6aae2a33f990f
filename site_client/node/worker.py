"""The runner as its launcher sees it: started, given one task, watched, ended, replaced.

Memory is the runner's resident set; processes that read files have limits of their own
(``[reading]``). The time of a task does not run while the site is closed. Seconds, GiB.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from fedrad.processes import Child, Plan
from site_client.settings import Resources

# What a runner says; after BEGUN its task is worked on, after LOST it could not be handed over.
READY, BEGUN, DONE, LOST = "ready", "begun", "done", "lost"
PAUSING, WORKING = "pausing", "working"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_S = 300.0  # the longest that a runner may take to get ready


class Worker:
    """One runner process, or none yet."""

    def __init__(self, home: Path, limits: Resources) -> None:
        self._home, self.limits = home, limits  # may be set anew
        self._child: Child | None = None
        self._said: SimpleQueue[str] = SimpleQueue()
        self._ready = self._busy = self._paused = False
        self._worked_s = self._since_s = 0.0
        self.begun = self.lost = False  # of the last task

    @property
    def busy(self) -> bool:
        """Whether it has a task."""
        return self._busy

    @property
    def ready(self) -> bool:
        """Whether the runner is there and has all that it needs."""
        return self._ready

    @property
    def died(self) -> bool:
        """Whether the runner is gone although nobody ended it."""
        return self._child is not None and not self._child.alive

    @property
    def pid(self) -> int:
        """The runner's process id; 0 without one."""
        return self._child.process.pid if self._child is not None else 0

    def warm_up(self) -> None:
        """Start the runner if there is none; returns at once."""
        if self._child is not None and self._child.alive:
            return
        self.end()
        self._child = Child(
            Plan(
                name="runner",
                command=(sys.executable, "-m", "site_client.node.runner", str(self._home)),
                log=self._home / "logs" / "runner.log",
                read=True,
                write=True,
                grace_s=0.0,
            )
        )
        self._said = SimpleQueue()
        self._since_s = time.monotonic()
        lines = self._child.process.stdout
        threading.Thread(target=_listen, args=(lines, self._said), daemon=True).start()

    def give(self, address: str, token: str, packed: bytes) -> None:
        """Hand over one task; the runner is started if there is none."""
        self.warm_up()
        task = {"address": address, "token": token, "packed": b64encode(packed).decode("ascii")}
        self._busy, self._worked_s, self._since_s = True, 0.0, time.monotonic()
        self.begun = self.lost = False
        pipe = self._child.process.stdin if self._child is not None else None
        if pipe is not None:
            with suppress(BrokenPipeError):  # it died: seen by ``trouble``
                pipe.write(json.dumps(task).encode("ascii") + b"\n")
                pipe.flush()

    def finished(self) -> bool:
        """Take in what the runner said; whether its task is done."""
        with suppress(Empty):
            while True:
                self._take(self._said.get_nowait())
        if self._busy or not self._ready or self.limits.keep_warm:
            return not self._busy
        self.end()
        return True

    def trouble(self) -> str:
        """Return why the runner must be replaced; empty while all is well."""
        if self._child is None:
            return ""
        if not self._child.alive:
            return f"its process ended with status {self._child.process.returncode}"
        gib = resident_gib(self._child.process.pid)
        if gib > self.limits.memory_gib:
            return f"it used more memory than [resources] memory_gib = {self.limits.memory_gib:g}"
        if self._busy and self._time_s() > self.limits.task_hours * 3600:
            return f"it took longer than [resources] task_hours = {self.limits.task_hours:g}"
        if not self._ready and time.monotonic() - self._child.started_s > _START_S:
            return f"it was not ready after {_START_S:.0f} s"
        return ""

    def end(self) -> None:
        """End the runner and all that it started."""
        if self._child is not None:
            self._child.end()
        self._child = None
        self._ready = self._busy = self._paused = False

    def _take(self, word: str) -> None:
        now = time.monotonic()
        if word == READY:
            self._ready = True
        elif word == BEGUN:
            self.begun = True
        elif word in {DONE, LOST}:
            self._busy, self.lost = False, word == LOST
        elif word == PAUSING:
            self._worked_s, self._paused = self._time_s(), True
        elif word == WORKING:
            self._since_s, self._paused = now, False

    def _time_s(self) -> float:
        return self._worked_s + (0.0 if self._paused else time.monotonic() - self._since_s)


def resident_gib(pid: int) -> float:
    """Return the memory that a process holds, in GiB; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * _PAGE / 2**30


def _listen(lines: IO[bytes] | None, said: SimpleQueue[str]) -> None:
    for line in lines or ():
        said.put(line.decode("ascii", "replace").strip())
