"""How often to ask again, and how long to wait: exponential back-off with jitter.

Sites of one hospital group that lost the same PACS must not come back in the same second.
Opening hours hold for every new attempt.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fedrad.clock import Clock
from fedrad.errors import RunError
from site_client.archive.pacs import PacsError, PacsRefusedError
from site_client.archive_settings import is_open

T = TypeVar("T")
_FIRST_S, _LONGEST_S = 1.0, 60.0


class ClosedError(RunError):
    """The opening hours of ``[archive]`` are over, or have not begun."""

    def __init__(self, hours: str) -> None:
        super().__init__(hours)
        self.hours = hours

    def __str__(self) -> str:
        return f"outside the hours {self.hours} of [archive]; fetch again then: what came is kept"


@dataclass(slots=True)
class Patience:
    """Decides whether and when to go on; shared by all connections of one fetch."""

    clock: Clock
    hours: str
    attempts: int  # of one request, without anything new in between
    chance: random.Random = field(default_factory=random.Random)
    stopped: threading.Event = field(default_factory=threading.Event)

    def may_go_on(self) -> None:
        """Return if a new request is allowed now.

        Raises:
            ClosedError: It is outside the hours.
            RunError: The fetch was stopped.
        """
        if self.stopped.is_set():
            raise RunError("the fetch was stopped")
        if not is_open(self.hours, self.clock.now()):
            raise ClosedError(self.hours)

    def wait(self, failures: int) -> None:
        """Wait after the ``failures``-th failure in a row: 1 s, 2 s, … 60 s, each ± a half."""
        longest = min(_LONGEST_S, _FIRST_S * 2 ** (failures - 1))
        self.clock.sleep(longest * self.chance.uniform(0.5, 1.5))

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to ``question``, asked until it comes or attempts are used up.

        Raises:
            PacsError: The last failure; a refusal at once.
            ClosedError: The hours ended.
        """
        for failures in range(1, self.attempts + 1):
            self.may_go_on()
            try:
                return question()
            except PacsRefusedError:
                raise
            except PacsError:
                if failures == self.attempts:
                    raise
            self.wait(failures)
        raise RunError("attempts must be 1 or more")
