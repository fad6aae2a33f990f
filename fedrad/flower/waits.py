"""Flower's fixed waits, replaced: 1 s for an object; how long to wait for anything else.

A wait here is short after something happened and grows while nothing does, so that a round
is quick and an idle hospital asks about once a second. Seconds throughout.
"""

from __future__ import annotations

import time

from fedrad.flower.lookup import private

SHORTEST_S, LONGEST_S = 0.05, 1.0
_SHARE = 0.05  # of the time since something last happened
_OBJECT_S, _OBJECT_CAP_S = 0.05, 1.0
_pull_objects = private("flwr.supercore.inflatable.inflatable_utils", "pull_objects")
_pull_tree = private(
    "flwr.supercore.inflatable.inflatable_utils", "pull_and_inflate_object_from_tree"
)


class Patience:
    """How long to wait before asking again: a share of the time in which nothing happened."""

    def __init__(self, *, share: float = _SHARE, shortest_s: float = SHORTEST_S) -> None:
        self._since = time.monotonic()
        self._share, self._shortest_s = share, shortest_s

    def something_happened(self) -> None:
        """Start over with the shortest wait."""
        self._since = time.monotonic()

    def wait_s(self) -> float:
        """Return how long to wait now."""
        quiet_s = time.monotonic() - self._since
        return min(max(quiet_s * self._share, self._shortest_s), LONGEST_S)


def shorten_object_waits() -> None:
    """Ask for an object that is not there yet after 0.05 s instead of 1 s, in this process."""
    for function in (_pull_objects, _pull_tree):
        function.__kwdefaults__.update(initial_backoff=_OBJECT_S, backoff_cap=_OBJECT_CAP_S)
