"""Start the hospital's page on the loopback, for whoever has the address that was printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedrad.clock import Clock
from fedrad.processes import Stop
from fedrad.screens.access import KeyDoor
from fedrad.screens.guarding import ENTER
from fedrad.screens.serving import Listener, loopback, serve
from site_client.dashboard.site_map import SitePages
from site_client.settings import read_site


def show(
    home: Path, *, port: int, by: str, clock: Clock, ready: Callable[[dict[str, str]], None]
) -> None:
    """Serve until Ctrl-C.

    Args:
        home: The site's.
        port: On the loopback; 0: any.
        by: Whose name is under a pause or a withdrawal; empty: nobody may act.
        clock: What the record is dated with.
        ready: Told the addresses by role, once they answer.

    Raises:
        SettingsError: ``site.toml`` cannot be used.
        UnreachableError: The port is taken.
    """
    read_site(home)
    listening = loopback(port)
    number = listening.getsockname()[1]
    door = KeyDoor(number, by)
    app, watch = SitePages(home, clock).behind(door)
    where = f"http://127.0.0.1:{number}{ENTER}?key="
    addresses = {str(role): f"{where}{key}" for role, key in door.keys.items()}
    serve([Listener(app, listening, watch.end)], Stop(), ready=lambda: ready(addresses))
