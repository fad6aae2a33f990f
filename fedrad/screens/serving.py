"""Serve applications on the loopback and on a Unix socket until somebody asks for the end.

Each listener has its own application, behind its own door, in a thread of its own: what comes
in over one cannot be taken for the other's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fedrad.errors import SettingsError, UnreachableError
from fedrad.processes import Stop

_LOOK_S = 0.1
_GRACE_S = 2  # for answers that are being sent
_SOCKET_MODE = 0o660  # the owner and the group, which is the proxy's


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and where it is asked."""

    app: ASGIApp
    socket: socket.socket
    end: Callable[[], None] = lambda: None  # called first when the end comes


def serve(listeners: Sequence[Listener], stop: Stop, *, ready: Callable[[], None]) -> None:
    """Answer until ``stop`` is asked for.

    Raises:
        UnreachableError: A listener ended by itself.
    """
    servers = [_server(listener.app) for listener in listeners]
    found = [one.socket for one in listeners if one.socket.family == socket.AF_UNIX]
    files = [Path(one.getsockname()) for one in found]  # taken away in the end
    threads = [
        threading.Thread(target=_run, args=(server, listener.socket), daemon=True)
        for server, listener in zip(servers, listeners, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        _until(stop, threads, servers, ready)
    finally:
        for listener, server in zip(listeners, servers, strict=True):
            listener.end()
            server.should_exit = True
        for thread in threads:
            thread.join(_GRACE_S + 3)
        for path in files:
            path.unlink(missing_ok=True)


def loopback(port: int) -> socket.socket:
    """Return a socket on 127.0.0.1; port 0 is any that is free.

    Raises:
        UnreachableError: The port is taken.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
    except OSError as error:
        found.close()
        line = f"127.0.0.1:{port} cannot be used: {error.strerror}; name another with --port"
        raise UnreachableError(line) from None
    found.listen(128)
    return found


def unix_socket(path: Path) -> socket.socket:
    """Return a socket at ``path`` for its owner and group; one that a dead program left goes.

    Raises:
        SettingsError: Something else is there, or a program answers there.
    """
    if path.exists() and not path.is_socket():
        raise SettingsError(str(path), ("there is a file that is no socket; name another path",))
    if path.is_socket():
        _refuse_living(path)
        path.unlink()
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~_SOCKET_MODE)
    try:
        found.bind(str(path))
    except OSError as error:
        found.close()
        problem = f"no socket can be made here: {error.strerror or error}"
        raise SettingsError(str(path), (problem,)) from None
    finally:
        os.umask(before)
    found.listen(128)
    return found


def _refuse_living(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.connect(str(path))
        raise SettingsError(str(path), ("a program answers there already; end it first",))


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # nobody's word about who asks, but a door's
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.run(server.serve(sockets=[listening]))


def _until(
    stop: Stop,
    threads: Sequence[threading.Thread],
    servers: Sequence[uvicorn.Server],
    ready: Callable[[], None],
) -> None:
    while not all(server.started for server in servers) and not stop.asked:
        _refuse_dead(threads)
        time.sleep(_LOOK_S / 5)
    ready()
    while not stop.asked:
        _refuse_dead(threads)
        time.sleep(_LOOK_S)


def _refuse_dead(threads: Sequence[threading.Thread]) -> None:
    if not all(thread.is_alive() for thread in threads):
        raise UnreachableError("the screen's server ended by itself; start it again")
