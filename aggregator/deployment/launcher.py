"""Starts a study's program when Flower's server has a task for it, and nothing else.

Only runs that were started with the codeless bundle are run, and only as a ServerApp: a
stranger who reached the control path could start others. A study whose program died without a
word is begun again (``again``); where it is not, that is reported at once: Flower would wait a
minute for its heartbeat.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

from aggregator.deployment.again import Again
from aggregator.deployment.superlink import FOLDER, runtime, secret
from fedrad import flower
from fedrad.flower.bundle import bundle_digest
from fedrad.flower.tasks import SERVER_TASK, UNREACHABLE, ClientTask, Offer, TaskSource
from fedrad.processes import GIVES_MEMORY_BACK, Child, Plan
from fedrad.protocol.messages import SCHEMA

LOG = "run.log"  # of all studies' programs, one after the other
_BEAT_S = 10.0  # Flower takes a task away after 60 s without, and its program may start slowly
_log = logging.getLogger(__name__)


class Launcher:
    """The coordinator's launcher; ``tend`` is called now and then."""

    def __init__(self, home: Path) -> None:
        self._home, self._runtime = home, runtime(home)
        self._source = TaskSource(self._runtime, secret(home))
        self._again = Again(home)
        self._running: list[tuple[Offer, Child]] = []
        self._beat_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether a study is being run."""
        return bool(self._running)

    def tend(self) -> None:
        """Look after programs that run; take a task if there is one."""
        for offer, child in tuple(self._running):
            if not child.alive:
                self._running.remove((offer, child))
                self._report(offer, child)
        if time.monotonic() - self._beat_s > _BEAT_S:
            self._beat_s = time.monotonic()
            self._beat()
        self._again.tend()
        with suppress(*UNREACHABLE):  # the server is being restarted
            offer_now = self._source.acquire()
            if offer_now is not None:
                self._take(offer_now)

    def end(self) -> None:
        """End every program; their runs can be taken up again."""
        for _, child in self._running:
            child.end()
        self._running.clear()
        self._again.close()
        self._source.close()

    def _take(self, offer: Offer) -> None:
        wrong = refusal(offer)
        if wrong:
            _log.warning("a task was refused", extra={"kind": offer.kind, "why": wrong})
            self._say(offer, wrong)
            return
        given = json.dumps({"home": str(self._home), "token": offer.token}).encode()
        plan = Plan(
            name="study",
            command=(sys.executable, "-m", "aggregator.deployment.study_process"),
            log=self._home / FOLDER / LOG,
            given=given,
            environment=GIVES_MEMORY_BACK,
        )
        self._running.append((offer, Child(plan)))
        self._again.begun(offer.run_id)

    def _beat(self) -> None:
        for offer, _ in self._running:
            task = ClientTask(self._runtime, offer)
            with suppress(*UNREACHABLE):  # it has ended, or the server is being restarted
                task.beat()
            task.close()

    def _report(self, offer: Offer, child: Child) -> None:
        status = child.process.returncode
        child.end()
        why = self._again.ended(offer.run_id, killed=status < 0)
        if status > 0 or why:
            _log.warning("a study's program ended", extra={"status": status, "why": why})
            with suppress(*UNREACHABLE):  # it reported its end itself
                self._say(offer, why or f"the study's program ended with status {status}")

    def _say(self, offer: Offer, reason: str) -> None:
        task = ClientTask(self._runtime, offer)
        try:
            task.refuse(flower.REFUSED, reason)
        finally:
            task.close()


def refusal(offer: Offer) -> str:
    """Return why a task is not run here; empty: it is."""
    if offer.kind != SERVER_TASK:
        return f"this coordinator runs no {offer.kind}"
    if offer.bundle_digest != bundle_digest(SCHEMA):
        return f"bundle {offer.bundle_digest[:12]} is not the one that this coordinator starts"
    return ""
