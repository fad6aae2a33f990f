"""Keep a site's programs: Flower's node, and the worker that answers its tasks.

What dies is started again, after waits that grow: Flower refuses a node for up to 60 s after
it died without a word. There is no listener beyond the loopback and one destination.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fedrad import flower
from fedrad.errors import RunError
from fedrad.flower.tasks import TASK_CAME, Runtime
from fedrad.processes import Keeper, Stop, free_port, keep_logs_short
from site_client.node.connector import connector_plan, new_secret, node_folder, node_options
from site_client.node.greeting import Greeter
from site_client.node.launcher import Launcher, refuse_other_software
from site_client.settings import read_site

_LOOK_S = 2.0  # between looks for tasks that nobody announced
_TICK_S = 0.2
_log = logging.getLogger(__name__)


def keep_site(home: Path, stop: Stop, *, ready: Callable[[], None] = lambda: None) -> None:
    """Answer the coordinator's questions until ``stop`` is asked for.

    Args:
        home: The site's.
        stop: Asked for by signals.
        ready: Called once, when the programs were started.

    Raises:
        SettingsError: ``site.toml`` or a key cannot be used, or the GPU is not there.
        DeclinedError: The installed software is not the approved one.
        RunError: The site's programs run already.
    """
    flower.quiet()
    settings = read_site(home)
    with _only_one(home):
        options = node_options(home, settings, port=1)
        refuse_other_software(settings)
        if settings.resources.device != "cpu":
            from site_client.device import device_of  # torch is the runner's business

            device_of(settings.resources.device)
        secret, port = new_secret(home), free_port()
        launcher = Launcher(home, Runtime(f"127.0.0.1:{port}"), secret)
        node, greeter = Keeper(connector_plan(home, port)), Greeter(home, options)
        try:
            ready()
            _loop(node, launcher, stop, home / "logs")
        finally:
            greeter.end()
            launcher.end()
            node.end()


def _loop(node: Keeper, launcher: Launcher, stop: Stop, logs: Path) -> None:
    came, looked_s = threading.Event(), 0.0
    while not stop.asked:
        if node.tend() and node.child is not None:
            pipe = node.child.process.stdout
            threading.Thread(target=_listen, args=(pipe, came), daemon=True).start()
        if launcher.busy or came.is_set() or time.monotonic() - looked_s > _LOOK_S:
            came.clear()
            looked_s = time.monotonic()
            launcher.tend()
            keep_logs_short(logs)
        if launcher.busy:
            time.sleep(_TICK_S / 4)
        else:
            came.wait(_TICK_S)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    path = node_folder(home) / "site.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"the site of {home} runs already; end it first") from None
    finally:
        os.close(descriptor)


def _listen(lines: IO[bytes] | None, came: threading.Event) -> None:
    for line in lines or ():
        if line.strip() == TASK_CAME.encode("ascii"):
            came.set()
