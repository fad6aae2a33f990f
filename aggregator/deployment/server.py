"""Start, keep and stop the coordinator's programs; let hospitals in as they are enrolled.

Order: Flower's server, its nodes, then the gateway, so that nobody is turned away by a
server that does not know them yet. Whatever dies is started again. Enrolments and
revocations of other commands take effect within seconds, without a restart.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aggregator.authority import CRL, SERVER, SERVER_KEY
from aggregator.deployment.again import forget
from aggregator.deployment.gateway import LOG as GATEWAY_LOG
from aggregator.deployment.gateway import Gateway
from aggregator.deployment.greetings import trim
from aggregator.deployment.launcher import Launcher
from aggregator.deployment.state import only_server, write_note
from aggregator.deployment.superlink import FOLDER, control, link_plan
from aggregator.home import key_path, read_coordinator
from aggregator.registry import Enrolled, read_sites
from aggregator.tracking.follow import plan_of
from fedrad import flower
from fedrad.flower.control import Control
from fedrad.flower.keys import bytes_of_key
from fedrad.flower.tasks import UNREACHABLE
from fedrad.processes import Keeper, Plan, Stop, keep_logs_short

_TICK_S, _LOOK_S = 0.25, 2.0
_log = logging.getLogger(__name__)


def serve(home: Path, stop: Stop, *, ready: Callable[[], None] = lambda: None) -> None:
    """Run the coordinator's programs until ``stop`` is asked for.

    Args:
        home: The coordinator's.
        stop: Asked for by signals.
        ready: Called once, when hospitals can come.

    Raises:
        RunError: A server for this home runs already, or nginx is missing.
    """
    flower.quiet()
    with only_server(home):
        write_note(home, state="opening")
        server = _Server(home)
        try:
            while not stop.asked:
                if server.tend():
                    ready()
                time.sleep(_TICK_S)
        finally:
            server.end()
        forget(home)  # a person begins again what a person stopped


class _Server:
    def __init__(self, home: Path) -> None:
        self._home = home
        trim(home)
        self._gateway = Gateway(home, read_coordinator(home))
        self._link = Keeper(link_plan(home))
        self._door = Keeper(
            Plan(
                name="gateway",
                command=self._gateway.command(),
                log=self._gateway.folder / GATEWAY_LOG,
                grace_s=3.0,
            )
        )
        self._beside = [Keeper(plan) for plan in plan_of(home)]  # nothing waits for them
        self._launcher: Launcher | None = None
        self._control = control(home)
        self._looked_s, self._open = 0.0, False
        self._seen: tuple[tuple[str, int], ...] = ()

    def tend(self) -> bool:
        """Do what is due; ``True`` once, when the gateway answers for the first time."""
        self._link.tend()
        self._look()
        if self._launcher is None:
            return False
        self._launcher.tend()
        self._door.tend()
        for keeper in self._beside:
            keeper.tend()
        opened = not self._open and self._door.alive and self._gateway.answers(_TICK_S)
        if opened:
            self._open = True
            write_note(self._home, state="open")
        return opened

    def end(self) -> None:
        """Stop in order: the door, the studies, Flower's server."""
        self._door.end()
        for keeper in self._beside:
            keeper.end()
        if self._launcher is not None:
            self._launcher.end()
        self._control.close()
        self._link.end()
        write_note(self._home, state="stopped")

    def _look(self) -> None:
        """Take in what other commands changed: hospitals, certificates."""
        now = time.monotonic()
        if now - self._looked_s < _LOOK_S and self._launcher is not None:
            return
        self._looked_s = now
        for folder in (self._home / FOLDER, self._gateway.folder):
            keep_logs_short(folder)
        seen = tuple(_stamps(self._home))
        if seen == self._seen and self._launcher is not None:
            return
        sites = read_sites(self._home)
        try:
            register(self._control, sites)
        except UNREACHABLE:
            return  # the server is starting; soon again
        self._seen = seen
        self._gateway.write(sites)
        if self._door.child is not None and self._door.alive:
            self._door.child.process.send_signal(signal.SIGHUP)
        self._launcher = self._launcher or Launcher(self._home)


def register(connection: Control, sites: dict[str, Enrolled]) -> None:
    """Make Flower's server know exactly the live hospitals, by name and key.

    Raises:
        httpx.HTTPError: It does not answer.
    """
    wanted = {name: bytes_of_key(site.node_key) for name, site in sites.items() if site.live}
    known = {node.name: node for node in connection.nodes()}
    for name, node in known.items():
        if wanted.get(name) != node.public_key:
            connection.unregister(node.node_id)
            _log.info("a hospital was unregistered", extra={"site": name})
    for name, key in wanted.items():
        if name not in known or known[name].public_key != key:
            connection.register(name, key)
            _log.info("a hospital was registered", extra={"site": name})


def _stamps(home: Path) -> list[tuple[str, int]]:
    own = (CRL, SERVER, SERVER_KEY)
    paths = [*(home / "sites").glob("*.json"), *(key_path(home, name) for name in own)]
    found = []
    for path in sorted(paths):
        with suppress(OSError):
            found.append((str(path), path.stat().st_mtime_ns))
    return found
