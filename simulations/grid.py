"""Flower's grid inside one machine: the real apps, no sockets, no server.

Every message is turned into bytes and back, as on a wire, so that what an app gets is what
it would get in a hospital. The sites' names are the nodes' names.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from flwr.app import Message
from flwr.serverapp import Grid

from aggregator.exchange import receive
from fedrad import flower
from fedrad.clock import SystemClock
from fedrad.errors import RunError
from simulations.pool import Job
from simulations.worker import FIRST_NODE

Observer = Callable[[str, str, int, bytes], None]  # site, phase, round, reply as bytes


class Delivery(Protocol):
    """How messages reach the sites: inline or through worker processes."""

    def submit(self, jobs: Iterable[Job]) -> None:
        """Take messages in."""

    def collect(self, message_id: str) -> bytes | None:
        """Return the reply's bytes, once; ``None`` while there is none."""


class LocalGrid(Grid):  # type: ignore[misc]  # Flower is followed without types
    """A grid whose nodes are the sites of a simulation on this machine."""

    poll_s = 0.002  # asking costs a dictionary lookup

    def __init__(
        self, sites: Sequence[str], delivery: Delivery, observer: Observer | None = None
    ) -> None:
        self._sites, self._delivery, self._observer = tuple(sorted(sites)), delivery, observer
        self._run = flower.run_of(uuid.uuid4().int >> 65)
        flower.begin_run(self._run.run_id)

    @property
    def run(self) -> Any:
        """Flower's description of the run."""
        return self._run

    def set_run(self, run: Any) -> None:
        """Take another run's description."""
        self._run = run

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Refuse: Flower itself has deprecated it.

        Raises:
            RunError: Always.
        """
        raise RunError("create_message is deprecated; build a flwr.app.Message instead")

    def get_node_ids(self) -> Iterable[int]:
        """Return one id per site, in the order of the names."""
        return [FIRST_NODE + index for index in range(len(self._sites))]

    def get_nodes(self) -> Iterable[Any]:
        """Return the nodes; a node's name is its site's."""
        return [
            flower.node_info(FIRST_NODE + index, name) for index, name in enumerate(self._sites)
        ]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand the messages over and return their ids, in order."""
        jobs = [self._job(message) for message in messages]
        self._delivery.submit(jobs)
        return [job.message_id for job in jobs]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there."""
        return [reply for key in message_ids if (reply := self._pull(key)) is not None]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then yield replies one at a time until all are there or time is up."""
        ids = self.push_messages(messages)
        limit_s = float("inf") if timeout is None else timeout
        return receive(self, ids, limit_s, clock=SystemClock())

    def _job(self, message: Message) -> Job:
        message_id = uuid.uuid4().hex
        flower.stamp_message(message, message_id)
        index = message.metadata.dst_node_id - FIRST_NODE
        if not 0 <= index < len(self._sites):
            raise RunError(f"there is no node {message.metadata.dst_node_id} in this simulation")
        return Job(message_id, index, message)

    def _pull(self, message_id: str) -> Message | None:
        content = self._delivery.collect(message_id)
        if content is None:
            return None
        reply = flower.message_from_bytes(content)
        if self._observer is not None:
            site = self._sites[reply.metadata.src_node_id - FIRST_NODE]
            observe(self._observer, site, reply, content)
        return reply


def observe(observer: Observer, site: str, reply: Message, content: bytes) -> None:
    """Tell ``observer`` about one reply that left a site."""
    round_number = int(reply.metadata.group_id or 0)
    observer(site, reply.metadata.message_type, round_number, content)
