"""What stands in for a hospital's machine: a desk that answers messages for some sites.

A desk holds one ClientApp and one Flower context per site, in this process or in a worker
process of its own. Everything crosses as bytes. What leaves a desk is the reply, or the
name of an exception's class: an exception's text stays in the worker's own log.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrad import flower

ClientFactory = Callable[[], ClientApp]  # picklable; called once in each process

READY = b"ready"
INDEX = struct.Struct("<I")
FIRST_NODE = 1001  # node ids of the local grid: FIRST_NODE + place among the sorted names

_log = logging.getLogger(__name__)
_apps: dict[bytes, ClientApp] = {}


class Desk:
    """Answers for the sites of one run, each by its place among the sorted names."""

    def __init__(self, app: ClientApp, sites: Sequence[str]) -> None:
        self._app, self._sites = app, tuple(sites)
        self._contexts: dict[int, Context] = {}

    def answer(self, index: int, request: bytes) -> bytes:
        """Return the bytes of the reply; an exception becomes an error reply."""
        message = flower.message_from_bytes(request)
        context = self._contexts.setdefault(index, self._context(index, message))
        try:
            reply = self._app(message=message, context=context)
        except Exception as error:  # noqa: BLE001  # the edge of a site's program
            _log.error("the client app raised", exc_info=True)
            reply = error_reply(message, flower.APP_RAISED, type(error).__name__)
        flower.stamp_message(reply, f"{message.metadata.message_id}:reply")
        return flower.message_to_bytes(reply)

    def _context(self, index: int, message: Message) -> Context:
        return Context(
            run_id=message.metadata.run_id,
            node_id=message.metadata.dst_node_id,
            node_config={
                "partition-id": index,
                "num-partitions": len(self._sites),
                "site": self._sites[index],
            },
            state=RecordDict(),
            run_config={},
        )


@dataclass(frozen=True)
class Relay:
    """A message handler that finds its ClientApp in the process that it wakes up in.

    Ray copies a handler to an actor for every message; the app, with whatever it keeps
    warm, is built once a process from the factory.
    """

    factory: ClientFactory

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer ``message``; raises what the app raises."""
        one_thread()
        key = pickle.dumps(self.factory)
        if key not in _apps:
            flower.quiet()
            _apps[key] = self.factory()
        return _apps[key](message, context)


def error_reply(message: Message, code: int, reason: str) -> Message:
    """Return the reply that says ``message`` was not answered."""
    return Message(Error(code=code, reason=reason), reply_to=message)


def serve(connection: Connection, factory: bytes, sites: Sequence[str]) -> None:
    """Answer requests from ``connection`` until its other end is closed.

    Ctrl-C is left to the parent, who ends its workers itself.

    Args:
        connection: First ``READY``, or a traceback; then a reply for every request.
        factory: A pickled ``ClientFactory``, from the parent alone.
        sites: The sites' names.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        build: ClientFactory = pickle.loads(factory)  # noqa: S301  # the parent's own bytes
        one_thread()
        flower.quiet()
        desk = Desk(build(), sites)
    except Exception:  # noqa: BLE001  # the edge of a worker process
        connection.send_bytes(traceback.format_exc().encode("utf-8"))
        return
    connection.send_bytes(READY)
    try:
        while True:
            (index,) = INDEX.unpack(connection.recv_bytes())
            connection.send_bytes(desk.answer(index, connection.recv_bytes()))
    except (EOFError, ConnectionError):
        return


def one_thread() -> None:
    """Keep this process to one thread: the sites are what runs in parallel."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
