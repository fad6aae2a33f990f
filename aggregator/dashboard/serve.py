"""Start the dashboard: on the loopback with keys; for a proxy, on a Unix socket if one is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aggregator.dashboard.places import Places
from aggregator.dashboard.presence import Presence
from aggregator.dashboard.site_map import Dashboard
from aggregator.home import DashboardSettings, read_coordinator
from fedrad.clock import Clock
from fedrad.processes import Stop
from fedrad.screens.access import KeyDoor, ProxyDoor, ProxyHeaders
from fedrad.screens.guarding import ENTER, LOOPBACK
from fedrad.screens.serving import Listener, loopback, serve, unix_socket


def settings_of(home: Path | None) -> DashboardSettings:
    """Return ``[dashboard]`` of a coordinator's home; the defaults where there is none.

    Raises:
        SettingsError: ``aggregator.toml`` cannot be used.
    """
    return DashboardSettings() if home is None else read_coordinator(home).dashboard


def show(
    places: Places,
    *,
    port: int | None,
    by: str,
    clock: Clock,
    ready: Callable[[dict[str, str]], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        places: Which runs.
        port: On the loopback; 0: any; ``None``: that of the settings.
        by: Whose name is under what an operator decides over the loopback; empty: nobody may.
        clock: What decisions are dated with.
        ready: Told the addresses by role, and the socket's path, once they answer.

    Raises:
        UnreachableError: The port is taken.
        SettingsError: The settings cannot be used, or the socket not be made.
    """
    settings = settings_of(places.home)
    listening = loopback(settings.port if port is None else port)
    number = listening.getsockname()[1]
    door = KeyDoor(number, by)
    presence = Presence(places.home)
    dashboard = Dashboard(places, presence, clock)
    app, watch = dashboard.behind(door, LOOPBACK)
    listeners = [Listener(app, listening, watch.end)]
    said = {role: f"http://127.0.0.1:{number}{ENTER}?key={key}" for role, key in door.keys.items()}
    addresses: dict[str, str] = {str(role): address for role, address in said.items()}
    if settings.socket and places.home is not None:
        path = places.home / settings.socket
        headers = ProxyHeaders(user=settings.user_header, role=settings.role_header)
        app, watch = dashboard.behind(ProxyDoor(headers))
        listeners.append(Listener(app, unix_socket(path), watch.end))
        addresses["socket"] = str(path)
    presence.keep_asking()
    serve(listeners, Stop(), ready=lambda: ready(addresses))
