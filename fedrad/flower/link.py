"""The coordinator's SuperLink: Flower's own entry, on the loopback, over TLS.

It starts no app (process isolation): the coordinator's launcher does. Who reaches its port
with the CA's certificate could start runs, so it listens on the loopback only and hospitals
come through the gateway. Flower checks that a reply comes from the node that was asked, but
takes the node's own word for who it is; here that must be the node whose key signed the call.
It takes as many objects as a reply says that it has, each up to the gateway's limit; here a
reply has no more than the largest model needs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from fedrad.flower.busy import wait_for_the_database
from fedrad.flower.lookup import private
from fedrad.flower.messages import quiet

_entry = private("flwr.superlink.cli.flower_superlink", "flower_superlink")
_handlers = private("flwr.superlink.servicer.fleet", "fleet_handlers")
_push_messages = private("flwr.superlink.servicer.fleet.fleet_handlers", "push_messages")
MOST_OBJECTS = 1000  # of one reply: a packed model of 5 GB, a chunk each


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """What a SuperLink needs; every path is a file of the coordinator's home."""

    port: int  # on the loopback
    health_port: int  # gRPC health service, on the loopback
    ca: Path  # PEM
    certificate: Path  # PEM, for 127.0.0.1
    key: Path
    secret: Path  # shared with the coordinator's launcher
    database: Path


def run_link(options: LinkOptions) -> None:
    """Be the SuperLink; ends the process, never returns."""
    quiet()
    wait_for_the_database()
    _handlers.push_messages = push_own_messages
    sys.argv = ["flower-superlink", *_arguments(options)]
    _entry()


def push_own_messages(request: Any, state: Any) -> Any:
    """Take a node's replies, if they say that they are its own.

    Raises:
        HTTPException: A reply names another node than the one that sends it, or has too many
            objects.
    """
    senders = {message.metadata.src_node_id for message in request.messages_list}
    if senders - {request.node.node_id}:
        raise HTTPException(status_code=401, detail="a reply in the name of another node")
    for tree in request.message_object_trees:
        if _more_than(MOST_OBJECTS, tree):
            raise HTTPException(status_code=413, detail=f"a reply of over {MOST_OBJECTS} objects")
    return _push_messages(request=request, state=state)


def _more_than(most: int, tree: Any) -> bool:
    """Whether a tree has more than ``most`` nodes."""
    waiting, seen = [tree], 0
    while waiting:
        seen += 1
        waiting += waiting.pop().children
        if seen + len(waiting) > most:
            return True
    return False


def _arguments(options: LinkOptions) -> list[str]:
    return [
        *("--host", "127.0.0.1"),
        *("--port", str(options.port)),
        *("--health-server-address", f"127.0.0.1:{options.health_port}"),
        *("--ssl-ca-certfile", str(options.ca)),
        *("--ssl-certfile", str(options.certificate)),
        *("--ssl-keyfile", str(options.key)),
        "--enable-supernode-auth",
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(options.secret)),
        *("--database", str(options.database)),
        "--disable-runtime-dependency-installation",
    ]
