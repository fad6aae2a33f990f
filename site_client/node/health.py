"""Whether a site's programs run, asked from beside them: for a container's check.

A coordinator that cannot be reached does not make a site sick: its node goes on trying, and
starting it again would mend nothing. Reads the process table of Linux.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from site_client.node.connector import node_folder

_WAIT_S = 5.0
_NODE = "site_client.node.connector"


def sick(home: Path) -> str:
    """Return what of a site's programs is not there; empty if all is well."""
    if not is_started(home):
        return "the site is not started"
    ports = list(_node_ports(home))
    if not ports:
        return "the site's node is being started again"
    return "" if any(map(_answers, ports)) else "the site's node does not answer"


def is_started(home: Path) -> bool:
    """Whether ``fedrad-site start`` runs for this home: it holds the home's lock."""
    try:
        descriptor = os.open(node_folder(home) / "site.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _node_ports(home: Path) -> Iterator[int]:
    """Yield the loopback port of the node's process: the last word of its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue  # it has ended
        if _NODE in words and str(home) in words and words[-2].isdecimal():
            yield int(words[-2])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S).close()
    except OSError:
        return False
    return True
