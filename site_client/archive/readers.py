"""Processes that read files for this one, and what became of each file.

A file that crashes a parser, hangs it, or takes more memory or time than ``[reading]`` allows
costs a worker, never the run: it gets a reason, the worker is replaced and the rest goes on.
The parent keeps names, paths and the site's secret; a worker gets a path and gives back a
small table or arrays. What is read belongs to the functions that requests name.
"""

from __future__ import annotations

import dataclasses
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from fedrad.errors import RunError
from site_client.archive.channel import BrokenChannelError, receive, send
from site_client.archive.faults import UnusableFileError
from site_client.archive.parent import Nursery, the_nursery
from site_client.limits import Reading

_QUEUED = 2  # requests of a worker: the next one waits there while an answer is fetched
_TRIES = 2  # a crash must happen again before a file is blamed for it
_PATIENCE = 5  # times the processor time allowed, by the clock: for a disk that hangs
_STALLED_S = 60.0  # between the parts of one message


@dataclass(frozen=True, slots=True)
class Request:
    """One call in a worker: ``module:name`` and its keyword arguments, as JSON values."""

    function: str
    arguments: Mapping[str, Any]
    files: int = 1  # it may take the time of so many files ...
    shares: int = 1  # ... and so many times the memory of one


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function returned."""

    result: Any
    arrays: list[NDArray[Any]] = field(default_factory=list)


Outcome = Answer | UnusableFileError


class Readers:
    """A few worker processes, alive while the ``with`` block runs."""

    def __init__(self, limits: Reading, preload: tuple[str, ...] = ()) -> None:
        """Prepare; ``preload`` names modules that workers need besides those for headers."""
        self._limits, self._preload = limits, preload
        self._table = dataclasses.asdict(limits)
        self._workers: list[_Worker] = []
        self._tries: Counter[int] = Counter()

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    def processes(self) -> list[int]:
        """Return the process ids of the workers, for whoever injects faults."""
        return [worker.process for worker in self._workers]

    def one(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            UnusableFileError: The function raised it, or: ``crashed``, ``too-slow``,
                ``too-large``.
        """
        (outcome,) = self.each([request])
        if isinstance(outcome, UnusableFileError):
            raise outcome
        return outcome

    def each(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        """Answer requests in their order; else as ``as_done``."""
        early: dict[int, Outcome] = {}
        told = 0
        for number, outcome in self.as_done(requests):
            early[number] = outcome
            while told in early:
                yield early.pop(told)
                told += 1

    def as_done(self, requests: Iterable[Request]) -> Iterator[tuple[int, Outcome]]:
        """Answer requests as they get done: the number of each, from 0, and what became of it.

        Requests are taken from the iterable as workers become free, and workers go on while
        the caller works on an answer. Whoever stops early must leave the ``with`` block before
        asking for anything else.

        Raises:
            RunError: Worker processes cannot be started.
        """
        source = enumerate(requests)
        todo: deque[tuple[int, Request]] = deque()
        done: dict[int, Outcome] = {}
        most = self._limits.workers * _QUEUED
        self._tries.clear()
        while True:
            todo.extend(islice(source, max(0, most - len(todo) - self._asked())))
            self._hand_out(todo)
            if done:
                number = next(iter(done))
                yield number, done.pop(number)
            elif self._asked():
                self._collect(todo, done)
            else:
                return

    def _asked(self) -> int:
        return sum(len(worker.queue) for worker in self._workers)

    def _hand_out(self, todo: deque[tuple[int, Request]]) -> None:
        for worker in self._crew(len(todo)):
            while todo and len(worker.queue) < _QUEUED:
                worker.ask(*todo.popleft(), self._table)

    def _crew(self, wanted: int) -> list[_Worker]:
        """Return the workers, the least busy first; one more if there is work for it."""
        busy = sum(bool(worker.queue) for worker in self._workers)
        while len(self._workers) < min(self._limits.workers, busy + wanted):
            self._workers.append(_Worker(self._preload))
        return sorted(self._workers, key=lambda worker: len(worker.queue))

    def _collect(self, todo: deque[tuple[int, Request]], done: dict[int, Outcome]) -> None:
        busy = [worker for worker in self._workers if worker.queue]
        patience = min((worker.patience(self._limits) for worker in busy), default=0.0)
        ready = wait([worker.channel for worker in busy], timeout=max(0.0, patience))
        for worker in busy:
            if worker.channel in ready:
                self._take(worker, todo, done)
            elif worker.patience(self._limits) <= 0:
                worker.end()
                done[self._drop(worker, todo)[0]] = UnusableFileError("too-slow")

    def _take(
        self, worker: _Worker, todo: deque[tuple[int, Request]], done: dict[int, Outcome]
    ) -> None:
        try:
            number, outcome = worker.answer()
        except BrokenChannelError:
            ended_by = worker.bury()
            number, request = self._drop(worker, todo)
            self._tries[number] += 1
            if ended_by != signal.SIGPROF and self._tries[number] < _TRIES:
                todo.appendleft((number, request))
                return
            outcome = UnusableFileError(_REASONS.get(ended_by, "crashed"))
        done[number] = outcome

    def _drop(self, worker: _Worker, todo: deque[tuple[int, Request]]) -> tuple[int, Request]:
        """Forget a dead worker; return what it had begun and put back what it had not."""
        self._workers.remove(worker)
        begun = worker.queue.popleft()
        todo.extendleft(reversed(worker.queue))
        return begun


_REASONS = {int(signal.SIGPROF): "too-slow", int(signal.SIGKILL): "too-large"}


class _Worker:
    """One worker process, as its parent sees it."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self.queue: deque[tuple[int, Request]] = deque()
        self._nursery, self.process, self.channel = _forked(preload)
        self._since_s = time.monotonic()

    def ask(self, number: int, request: Request, limits: dict[str, Any]) -> None:
        """Send a request; a worker that died is noticed when its answer is awaited."""
        if not self.queue:
            self._since_s = time.monotonic()
        self.queue.append((number, request))
        message = [request.function, request.arguments, request.files, request.shares, limits]
        with suppress(BrokenChannelError):
            send(self.channel, message)

    def answer(self) -> tuple[int, Outcome]:
        """Receive the answer to the first request in the queue."""
        (kind, *said), arrays = receive(self.channel)
        number, _ = self.queue.popleft()
        self._since_s = time.monotonic()
        if kind == "done":
            return number, Answer(said[0], arrays)
        return number, UnusableFileError(str(said[0]), str(said[1]))

    def patience(self, limits: Reading) -> float:
        """Return for how many seconds of the clock the first request may still take."""
        seconds = limits.seconds * self.queue[0][1].files + limits.pixel_seconds(limits.pixels)
        return self._since_s + _PATIENCE * seconds - time.monotonic()

    def end(self) -> None:
        """Kill the process."""
        self.channel.close()
        self._nursery.end(self.process)

    def bury(self) -> int:
        """Return the signal that ended the process; its channel is closed."""
        self.channel.close()
        return self._nursery.bury(self.process)


def _forked(preload: tuple[str, ...]) -> tuple[Nursery, int, socket.socket]:
    for _ in range(_TRIES):
        nursery = the_nursery()
        try:
            process, channel = nursery.fork(preload)
        except BrokenChannelError:
            nursery.stop()
        else:
            channel.settimeout(_STALLED_S)
            return nursery, process, channel
    raise RunError("the processes that read files cannot be started; reinstall fedrad")
