"""Which hospitals are connected now, asked of the coordinator's own server every few seconds.

Asking opens a connection to the server and takes a moment, so no page waits for it. Where no
server runs, nobody is known to be here or away.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from fedrad.errors import FedradError

_EVERY_S = 5.0


class Presence:
    """What was heard last; ``version`` grows when it differs."""

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self.online: dict[str, str] = {}
        self.state = "" if home is None else "not asked yet"
        self.version = 0

    def keep_asking(self) -> None:
        """Ask again and again, in a thread that ends with the program."""
        if self._home is not None:
            threading.Thread(target=self._loop, args=(self._home,), daemon=True).start()

    def ask(self, home: Path) -> None:
        """Ask once."""
        from aggregator.deployment.runs import sites_table
        from aggregator.deployment.state import is_running

        running = is_running(home)
        table = sites_table(home) if running else []
        online = {
            str(one["site"]): str(one["node"]) for one in table if one["status"] == "enrolled"
        }
        state = "server is open" if running else "server is not started"
        if (online, state) != (self.online, self.state):
            self.online, self.state = online, state
            self.version += 1

    def _loop(self, home: Path) -> None:
        while True:
            with suppress(FedradError, OSError):
                self.ask(home)
            time.sleep(_EVERY_S)
