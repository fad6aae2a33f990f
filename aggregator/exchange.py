"""Ask sites over a Flower grid and take the answers one at a time.

A grid hands over every reply that is ready when it is asked for all of them; asked for one
message at a time it never holds more than one update in memory. What an answer means is
the strategy's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from flwr.app import Message
from flwr.serverapp import Grid

from fedrad.clock import Clock

_NONE: Mapping[str, float] = MappingProxyType({})
TTL_MARGIN_S = 600.0  # that a question lives on after its deadline, in seconds
_POLL_S = 0.2  # how often a grid is asked unless it says otherwise in ``poll_s``


def receive(  # noqa: PLR0913  # what is asked for, how long, and what else may come
    grid: Grid,
    message_ids: Iterable[str],
    deadline_s: float,
    *,
    clock: Clock,
    also: Iterable[str] = (),
    each: Mapping[str, float] = _NONE,
) -> Iterator[Message]:
    """Yield the replies to ``message_ids`` as they come, until all are there or time is up.

    Args:
        grid: The grid that took the messages.
        message_ids: What its ``push_messages`` returned; a second reply to one of them is
            dropped.
        deadline_s: Seconds from now; a reply that is ready by then still counts.
        clock: Measures the waiting.
        also: Further messages whose replies are taken and not waited for.
        each: Seconds from now for messages with a deadline of their own. After its deadline
            a reply is taken while another is waited for.
    """
    waiting, others, begun_s = list(message_ids), list(also), clock.monotonic_s()
    while waiting or others:
        longest_s = max((each.get(one, deadline_s) for one in waiting), default=0.0)
        late = not waiting or clock.monotonic_s() >= begun_s + longest_s
        before = len(waiting)
        for own in (waiting, others):
            for message_id in tuple(own):
                found = list(grid.pull_messages([message_id]))
                if found and message_id in own:
                    own.remove(message_id)
                    yield found.pop()  # held by nobody here while the next one is pulled
        if late:
            return
        if len(waiting) == before:
            clock.sleep(getattr(grid, "poll_s", _POLL_S))
