"""Add up the ledger beside the pages: a long ledger takes seconds, and no page waits for it."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from pathlib import Path

from fedrad.errors import FedradError
from site_client.budget import Budget, read_budget
from site_client.settings import read_site


class AddingUp:
    """The budget as it was added up last; ``version`` grows when it is done again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._asked: Hashable = None
        self._budget: Budget | None = None
        self._error: FedradError | None = None
        self.version = 0

    def budget(self, stamp: Hashable) -> Budget | None:
        """Return what is spent; ``None``: it is being added up for the first time.

        Args:
            stamp: What differs when the ledger or the settings do.

        Raises:
            FedradError: The ledger or the settings cannot be read.
        """
        with self._lock:
            if stamp != self._asked:
                self._asked = stamp
                threading.Thread(target=self._add, daemon=True).start()
            if self._error is not None:
                raise self._error
            return self._budget

    def _add(self) -> None:
        try:
            found, error = read_budget(self._home, read_site(self._home)), None
        except FedradError as problem:
            found, error = None, problem
        except OSError as problem:
            found, error = None, FedradError(f"the ledger cannot be read: {problem.strerror}")
        with self._lock:
            self._budget, self._error = found, error
            self.version += 1
