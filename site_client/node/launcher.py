"""What runs at a site: tasks of the one kind, of the one bundle, by the approved software.

Everything else is answered with a refusal that says why; nothing of it is opened. The
launcher keeps a task's metadata, so that the coordinator hears at once of a runner that
died, grew too large or took too long, and the next task finds a new one.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fedrad import flower, software
from fedrad.clock import Clock, SystemClock
from fedrad.errors import DeclinedError, FedradError, SettingsError
from fedrad.flower.bundle import bundle_digest
from fedrad.flower.tasks import (
    CLIENT_TASK,
    CRASHED,
    RAISED,
    UNREACHABLE,
    ClientTask,
    Offer,
    Runtime,
    TaskSource,
)
from fedrad.protocol import versions
from fedrad.protocol.messages import SCHEMA
from site_client import audit
from site_client.node.worker import Worker
from site_client.pausing import works_now
from site_client.settings import SiteSettings, read_site

_BEAT_S = 10.0  # Flower gives a task up after 60 s without
_LONGEST_WAIT_S = 120.0  # between two starts of a runner that does not get ready
_LOOK_S = 1.0  # until its content is here: the node may have withdrawn it
_log = logging.getLogger(__name__)


class Launcher:
    """Takes tasks and looks after the one that is being worked on."""

    def __init__(
        self, home: Path, runtime: Runtime, secret: bytes, *, clock: Clock | None = None
    ) -> None:
        self._home, self._runtime = home, runtime
        self._source = TaskSource(runtime, secret)
        self._clock = clock or SystemClock()
        self.worker = Worker(home, read_site(home).resources)
        self._task: ClientTask | None = None
        self._beat_s = self._warm_wait_s = self._warm_next_s = 0.0
        self._problem = ""  # why site.toml cannot be used, as it was last said

    @property
    def busy(self) -> bool:
        """Whether a task is being worked on."""
        return self._task is not None

    def tend(self) -> None:
        """Look after the task that is worked on; else take one, if the site is open."""
        if self._task is not None:
            self._watch(self._task)
        elif self.open():
            if self.worker.limits.keep_warm:
                self._keep_warm()
            self._take()

    def open(self) -> bool:
        """Whether the site works now: it is within its hours, and nobody paused it.

        A ``site.toml`` that cannot be used closes it until it is mended; so a slip of the pen
        ends nothing, and nothing is done that the hospital may not want.
        """
        try:
            self.worker.limits = read_site(self._home).resources
            works = works_now(self._home, datetime.now().astimezone())
        except (SettingsError, OSError) as error:
            self._closed_by(str(error))
            return False
        self._problem = ""
        return works

    def _closed_by(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("no question is taken until this is mended: %s", problem)
            audit.record(self._home, self._clock, "warning", sentence=problem)
        self._problem = problem

    def end(self) -> None:
        """End the runner; its task is answered as one that crashed."""
        if self._task is not None:
            self._replace(self._task, "the site was stopped")
        self.worker.end()
        self._source.close()

    def _take(self) -> None:
        with suppress(*UNREACHABLE):  # the node is being restarted, or withdrew the task
            offer = self._source.acquire()
            if offer is not None:
                self._begin(ClientTask(self._runtime, offer))

    def _begin(self, task: ClientTask) -> None:
        packed = task.open()
        wrong = self._refusal(task.offer)
        if wrong:
            _log.warning("a task was refused: %s", wrong)
            about = {"message": task.message_id, "bundle": task.offer.bundle_digest}
            audit.record(self._home, self._clock, "task refused", sentence=wrong, **about)
            task.refuse(flower.REFUSED, f"the site refuses: {wrong}")
            task.close()
            return
        self._task, self._beat_s = task, time.monotonic()
        self.worker.give(self._runtime.address, task.offer.token, packed)

    def _refusal(self, offer: Offer) -> str:
        """Return why a task is not worked on; empty: it is."""
        if offer.kind != CLIENT_TASK:
            return f"it runs no {offer.kind}"
        if offer.bundle_digest != bundle_digest(SCHEMA):
            return _of_bundle(offer.bundle_digest)
        try:
            refuse_other_software(read_site(self._home))
        except FedradError as error:
            _log.warning("%s", error)
            return "its software is not the approved one"
        return ""

    def _watch(self, task: ClientTask) -> None:
        if self.worker.finished():
            if self.worker.lost:
                self._tell(task, "the site's answer could not be handed over")
            self._close(task)
            return
        trouble = self.worker.trouble()
        if trouble:
            self._replace(task, trouble)
        elif time.monotonic() - self._beat_s > (_BEAT_S if self.worker.begun else _LOOK_S):
            self._beat_s = time.monotonic()
            self._beat(task)

    def _beat(self, task: ClientTask) -> None:
        try:
            alive = task.beat()
        except UNREACHABLE:
            alive = False
        if alive:
            return
        _log.warning("the node has forgotten the task that is worked on")
        if not self.worker.begun:  # its content will never come
            self._replace(task, "its task was withdrawn")

    def _replace(self, task: ClientTask, trouble: str) -> None:
        _log.warning("the runner is replaced: %s", trouble)
        audit.record(self._home, self._clock, "runner replaced", sentence=trouble)
        code = CRASHED if self.worker.died else RAISED
        self.worker.end()
        self._tell(task, "the site's worker ended before its answer", code)
        self._close(task)

    def _tell(self, task: ClientTask, why: str, code: int = CRASHED) -> None:
        """Answer for the runner; ``CRASHED``: the same question may be asked once more."""
        with suppress(*UNREACHABLE):  # the node has forgotten it: nobody asks
            task.refuse(code, why)

    def _keep_warm(self) -> None:
        self.worker.finished()
        if trouble := self.worker.trouble():
            _log.warning("the runner is replaced: %s; see logs/runner.log", trouble)
            self.worker.end()
            self._warm_wait_s = min(2 * self._warm_wait_s + 1.0, _LONGEST_WAIT_S)
            self._warm_next_s = time.monotonic() + self._warm_wait_s
        if self.worker.ready:
            self._warm_wait_s = 0.0
        elif time.monotonic() >= self._warm_next_s:
            self.worker.warm_up()

    def _close(self, task: ClientTask) -> None:
        task.close()
        self._task = None


def _of_bundle(digest: str) -> str:
    wire = versions.wire_of_bundle(digest)
    if wire:
        return versions.Speaker(wire, "unknown").difference("")
    return f"bundle {digest[:12]} is not the one without code"


def refuse_other_software(settings: SiteSettings) -> None:
    """Refuse code that is not on the site's list; the runner checks the signature behind it.

    Raises:
        DeclinedError: The installed code is not on the list.
    """
    installed = software.app_digest()
    if installed not in settings.approval.software:
        raise DeclinedError(
            f"the installed software {installed} is not in [approval] software; "
            "fedrad-site approve --software puts it there"
        )
