"""Flower's fixed waits, replaced: 3 s between messages, 0.5 s for a reply, 1 s for an object.

A wait here is short after something happened and grows while nothing does, so that a round
is quick and an idle hospital asks about once a second. Seconds throughout.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from fedrad.flower.lookup import private

SHORTEST_S, LONGEST_S = 0.05, 1.0
_SHARE = 0.05  # of the time since something last happened
_OBJECT_S, _OBJECT_CAP_S = 0.05, 1.0
_NODE_S = 0.2  # a hospital's shortest wait: every question is the coordinator's work

_FLOWERS_IDLE_S = 3.0  # what the node's loop sleeps when there was no message
_node_loop = private("flwr.supernode.start_client_internal", "__dict__")
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


def shorten_node_waits(task_came: Callable[[], None]) -> None:
    """Let this process's SuperNode ask for messages, and look for a reply, without 3 s waits.

    Args:
        task_came: Called when a message has arrived, before its reply is awaited.
    """
    patience = Patience(shortest_s=_NODE_S)

    def sleep(asked_s: float) -> None:
        if asked_s < _FLOWERS_IDLE_S:  # a reply is awaited: the site is at work
            patience.something_happened()
            time.sleep(SHORTEST_S)
        else:
            time.sleep(patience.wait_s())

    push = _node_loop["_push_messages"]

    def push_messages(*arguments: Any, **named: Any) -> None:
        task_came()
        push(*arguments, **named)

    _node_loop["_push_messages"] = push_messages
    _node_loop["time"] = SimpleNamespace(sleep=sleep)
    shorten_object_waits()
