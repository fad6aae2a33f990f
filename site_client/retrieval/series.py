"""Retrieve one series, whatever happens on the way: all at once, then what is still missing.

What arrived before a failure is kept and never asked for again. A series is finished when the
store holds, or has refused for good, as many instances as the PACS listed. Which series those
are, and in what order, belongs to ``fetch``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from site_client.archive.inbox import Inbox, TooLargeError
from site_client.archive.pacs import (
    Pacs,
    PacsError,
    PacsRefusedError,
    PacsUnreachableError,
    Series,
    is_uid,
)
from site_client.retrieval.patience import Patience
from site_client.retrieval.progress import Progress
from site_client.retrieval.store import INSTANCE, SERIES, Settled, Store

TOO_LARGE = "too-large"
NOTHING_SENT = (
    "it answers without an error and sends nothing; are the images offline, or may this site "
    "not retrieve them?"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one instance may weigh and what the disk keeps free, in bytes."""

    most_bytes: int
    keep_free: int


@dataclass(slots=True)
class Outcome:
    """What one series brought; ``missing`` instances were listed and did not come."""

    kept: int = 0
    bytes: int = 0
    held_before: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    problem: str = ""

    def add(self, settled: Settled) -> None:
        """Count what became of one inbox."""
        self.kept += settled.kept
        self.bytes += settled.bytes
        self.refused += settled.refused


@dataclass(slots=True)
class SeriesRetrieval:
    """One series on its way into the store."""

    pacs: Pacs
    series: Series
    store: Store
    progress: Progress
    patience: Patience
    limits: Limits
    incoming: Path
    outcome: Outcome = field(default_factory=Outcome)

    def run(self) -> Outcome:
        """Retrieve what is missing and say what came.

        Raises:
            PacsRefusedError: The PACS says no to this site.
            PacsUnreachableError: Nobody answers, for as long as patience lasts.
            NoRoomError: The disk is full.
            ClosedError: The opening hours ended.
        """
        name = self._name
        self.outcome.held_before = len(self.store.held(name))
        refused = self.progress.refused(name)
        if not self.outcome.held_before and not refused:
            self._all_at_once()
        if not self._has_all(refused):
            self._what_is_missing(refused)
        return self.outcome

    @property
    def _name(self) -> str:
        return self.store.names.of(SERIES, self.series.uid)

    def _all_at_once(self) -> None:
        """Ask for the whole series once; what fails is left to be asked for by instance."""
        self.patience.may_go_on()
        try:
            with _Inbox(self) as inbox:
                self.pacs.fetch_series(self.series, inbox.inbox)
        except PacsRefusedError:
            raise
        except PacsError:
            self.patience.wait(1)
        except TooLargeError:
            pass

    def _has_all(self, refused: dict[str, str]) -> bool:
        held, promised = len(self.store.held(self._name)), self.series.instances
        if not promised or held + len(refused) < promised:
            return False
        self._finish(refused)
        return True

    def _what_is_missing(self, refused: dict[str, str]) -> None:
        """Ask for the listed instances that are not here: together, then one by one."""
        listed = self.patience.ask(lambda: self.pacs.list_instances(self.series))
        names = {self.store.names.of(INSTANCE, uid): uid for uid in listed if is_uid(uid)}
        self._together(names, refused)
        for name in self._missing(names, refused):
            reason = self._one(names[name])
            if reason:
                refused[name] = reason
        self.outcome.missing = len(self._missing(names, refused))
        if not self.outcome.missing and (self.store.held(self._name) or refused):
            self._finish(refused)
        elif not self.outcome.missing:
            self._say(NOTHING_SENT)
            self.outcome.missing = max(1, self.series.instances)

    def _missing(self, names: dict[str, str], refused: dict[str, str]) -> list[str]:
        return sorted(names.keys() - self.store.held(self._name) - refused.keys())

    def _together(self, names: dict[str, str], refused: dict[str, str]) -> None:
        """Ask for all that is missing in one request, as long as that brings something."""
        failures = 0
        while len(missing := self._missing(names, refused)) > 1:
            self.patience.may_go_on()
            error = self._try_together([names[name] for name in missing])
            brought = len(self._missing(names, refused)) < len(missing)
            failures = 0 if brought else failures + 1
            if failures and (error is None or failures >= self.patience.attempts):
                if isinstance(error, PacsUnreachableError):
                    raise error
                return
            if error is not None:
                self.patience.wait(max(1, failures))

    def _try_together(self, uids: list[str]) -> PacsError | None:
        try:
            with _Inbox(self) as inbox:
                self.pacs.fetch_instances(self.series, uids, inbox.inbox)
        except PacsRefusedError:
            raise
        except PacsError as error:
            return error
        except TooLargeError:
            pass
        return None

    def _one(self, uid: str) -> str:
        """Ask for one instance; return why it is refused for good, or nothing."""
        settled = Settled()

        def fetch() -> None:
            with _Inbox(self, settled) as inbox:
                self.pacs.fetch_instances(self.series, [uid], inbox.inbox)

        try:
            self.patience.ask(fetch)
        except PacsRefusedError:
            raise
        except TooLargeError:
            self.outcome.refused[TOO_LARGE] += 1
            return TOO_LARGE
        except PacsError as error:
            if type(error) is not PacsError:  # nobody answers: no use asking for the next
                raise
            self._say(str(error))
        if not settled.kept and not settled.refused:
            self._say(NOTHING_SENT)
        return next(iter(settled.refused), "")

    def _finish(self, refused: dict[str, str]) -> None:
        held = len(self.store.held(self._name))
        promised = self.series.instances
        self.progress.note_series(self._name, promised=promised, held=held, refused=refused)

    def _say(self, problem: str) -> None:
        self.outcome.problem = self.outcome.problem or problem


class _Inbox:
    """An inbox whose files are settled when it is left, also by an error."""

    def __init__(self, retrieval: SeriesRetrieval, settled: Settled | None = None) -> None:
        self._retrieval, self._settled = retrieval, settled
        self.inbox = Inbox(
            Path(tempfile.mkdtemp(dir=retrieval.incoming)),
            most_bytes=retrieval.limits.most_bytes,
            keep_free=retrieval.limits.keep_free,
        )

    def __enter__(self) -> _Inbox:
        return self

    def __exit__(self, *_: object) -> None:
        retrieval = self._retrieval
        try:
            found = retrieval.store.settle(retrieval.series, self.inbox)
            retrieval.outcome.add(found)
            if self._settled is not None:
                self._settled.kept += found.kept
                self._settled.refused += found.refused
        finally:
            shutil.rmtree(self.inbox.folder, ignore_errors=True)
