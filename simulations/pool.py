"""Worker processes for the sites of a simulation, and who works for whom.

One thread of this process looks after one worker. A free worker takes a waiting message of
a site that it worked for last (it keeps that site's data), else of a site that nobody works
for, else of any; the one that took longest last time goes first. A site never has two
messages in work. A worker that dies costs its message and is replaced.
"""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from flwr.app import Message

from fedrad import flower
from fedrad.errors import RunError
from simulations.worker import INDEX, READY, ClientFactory, Desk, error_reply, serve

_PRELOAD = ("torch", "flwr.app", "flwr.clientapp", "fedrad.flower", "fedrad.protocol.codec")
_POLITE_S, _GRACE_S = 0.5, 2.0


def warm_up(preload: Sequence[str] = ()) -> None:
    """Start importing torch, Flower and ``preload`` in the process that workers fork from.

    Returns at once. Worth calling before anything slow that comes before a run; the first
    call in a process decides what is preloaded.
    """
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload([*_PRELOAD, *preload])
    forkserver.ensure_running()


@dataclass(frozen=True)
class Job:
    """One message on its way to the site at ``index``."""

    message_id: str
    index: int
    message: Message


class Inline:
    """No processes: a message is answered when its reply is asked for."""

    def __init__(self, sites: Sequence[str], factory: ClientFactory) -> None:
        self._desk = Desk(factory(), sites)
        self._waiting: dict[str, Job] = {}

    def submit(self, jobs: Iterable[Job]) -> None:
        """Take messages in."""
        self._waiting |= {job.message_id: job for job in jobs}

    def collect(self, message_id: str) -> bytes | None:
        """Return the reply's bytes; ``None`` for a message that is not waiting."""
        job = self._waiting.pop(message_id, None)
        if job is None:
            return None
        return self._desk.answer(job.index, flower.message_to_bytes(job.message))

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()


class Pool:
    """Worker processes that answer for the sites; start-up ends when all are ready."""

    def __init__(self, sites: Sequence[str], factory: ClientFactory, workers: int) -> None:
        """Start the workers.

        Raises:
            RunError: The factory failed in a worker; carries that worker's traceback.
        """
        warm_up()
        pickled = _pickled(factory)
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._done: dict[str, tuple[int, bytes]] = {}
        self._busy: set[int] = set()
        self._owner: dict[int, int] = {}
        self._seconds: dict[tuple[int, str], float] = {}
        self._closed = False
        self._workers = [_Worker(tuple(sites), pickled) for _ in range(workers)]
        self._refuse_unready()
        self._threads = [
            threading.Thread(target=self._look_after, args=(number,), daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Queue messages at once; earlier replies of their sites that nobody took are dropped."""
        new = list(jobs)
        sites = {job.index for job in new}
        with self._changed:
            kept = {key: done for key, done in self._done.items() if done[0] not in sites}
            self._done = kept
            self._waiting += new
            self._changed.notify_all()

    def collect(self, message_id: str) -> bytes | None:
        """Return the reply's bytes, once; ``None`` while there is none."""
        with self._changed:
            _, reply = self._done.pop(message_id, (0, None))
        return reply

    def close(self) -> None:
        """End the workers: idle ones at once, those in the middle of a message by force."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + _POLITE_S
        for worker, thread in zip(self._workers, self._threads, strict=True):
            thread.join(max(0.0, end - time.monotonic()))  # idle ones have gone by now
            if thread.is_alive():
                worker.force()  # its pipe reads to the end, and the thread with it
                thread.join(_GRACE_S)
            worker.stop()

    def pids(self) -> list[int]:
        """Return the process ids of the workers, for whoever injects faults."""
        return [worker.process.pid for worker in self._workers]

    def _refuse_unready(self) -> None:
        problems = [worker.wait_ready() for worker in self._workers]
        failed = [problem for problem in problems if problem]
        if failed:
            for worker in self._workers:
                worker.stop()
            raise RunError(f"a worker process could not build the site program:\n{failed[0]}")

    def _look_after(self, number: int) -> None:
        worker = self._workers[number]
        while (job := self._next(number)) is not None:
            started = time.monotonic()
            reply = worker.ask(job)
            with self._changed:
                self._busy.discard(job.index)
                phase = job.message.metadata.message_type
                self._seconds[job.index, phase] = time.monotonic() - started
                if not any(waiting.index == job.index for waiting in self._waiting):
                    self._done[job.message_id] = (job.index, reply)
                closed = self._closed
                self._changed.notify_all()
            if not closed and not worker.process.is_alive():
                worker.restart()

    def _next(self, number: int) -> Job | None:
        with self._changed:
            while not self._closed:
                free = [job for job in self._waiting if job.index not in self._busy]
                if free:
                    job = min(free, key=lambda job: self._rank(number, job))
                    self._waiting.remove(job)
                    self._busy.add(job.index)
                    self._owner[job.index] = number
                    return job
                self._changed.wait()
        return None

    def _rank(self, number: int, job: Job) -> tuple[int, float, int]:
        owner = self._owner.get(job.index)
        stranger = 1 if owner is None else 2 * (owner != number)
        phase = job.message.metadata.message_type
        return stranger, -self._seconds.get((job.index, phase), 0.0), job.index


def _pickled(factory: ClientFactory) -> bytes:
    try:
        return pickle.dumps(factory)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RunError(
            f"the site program's factory cannot be sent to a worker process ({error}); "
            f"make it a function or a class of a module, or use workers=0"
        ) from None


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, sites: tuple[str, ...], factory: bytes) -> None:
        self._sites, self._factory = sites, factory
        self.process: Any = None
        self._pipe: Connection
        self.restart()

    def restart(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._ready = False
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._factory, self._sites)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def wait_ready(self) -> str:
        """Wait for the process; return what went wrong, or an empty text."""
        if self._ready:
            return ""
        try:
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            return "the process ended before it was ready"
        self._ready = answer == READY
        return "" if self._ready else answer.decode("utf-8", "replace")

    def ask(self, job: Job) -> bytes:
        """Return the reply's bytes; an error reply if the process dies or cannot start."""
        try:
            if not self.wait_ready():
                self._pipe.send_bytes(INDEX.pack(job.index))
                self._pipe.send_bytes(flower.message_to_bytes(job.message))
                return self._pipe.recv_bytes()
        except (EOFError, OSError):
            pass
        self.process.join(_GRACE_S)
        reply = error_reply(job.message, flower.APP_CRASHED, "the site's process died")
        return flower.message_to_bytes(reply)

    def stop(self) -> None:
        """End the process: politely if it listens, else by force; nobody reads its pipe by then."""
        self._pipe.close()
        self.process.join(_POLITE_S)
        self.force()

    def force(self) -> None:
        """End the process, whatever it is doing."""
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(_GRACE_S)
