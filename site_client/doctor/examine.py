"""Go the way that the site's programs go, step by step, and say where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from fedrad.clock import Clock
from fedrad.errors import RunError, SettingsError
from fedrad.flower.door import NodeOptions
from site_client.doctor.authenticity import shake_hands
from site_client.doctor.door import door_lines
from site_client.doctor.own import has_keys, key_lines, own_lines
from site_client.doctor.way_out import Blocked, connect, connect_to_proxy, resolve, through_proxy
from site_client.node.connector import node_options
from site_client.preflight.lines import Line, exit_code, no, ok
from site_client.settings import SiteSettings, read_site


@dataclass(frozen=True, slots=True)
class Examined:
    """What was looked at, in the order of the way."""

    site: str
    lines: tuple[Line, ...]

    @property
    def exit_code(self) -> int:
        """0 if nothing is in the way; else see ``lines.exit_code``."""
        return exit_code(self.lines)


def examine(home: Path, clock: Clock) -> Examined:
    """Look at everything between this site and its coordinator.

    Raises:
        SettingsError: ``site.toml`` cannot be used.
    """
    settings = read_site(home)
    lines = list(own_lines(home, settings, clock.now()))
    lines += key_lines(home, settings, clock.now())
    if settings.coordinator is not None and has_keys(home):
        lines += _network(home, settings, clock)
    return Examined(settings.site.name, tuple(lines))


def _network(home: Path, settings: SiteSettings, clock: Clock) -> Iterator[Line]:
    try:
        options = node_options(home, settings, port=1)
    except SettingsError as error:  # the proxy's password
        yield no("proxy", "; ".join(error.problems), do="correct [proxy] of site.toml")
        return
    except RunError as error:  # another Flower
        yield no("flower", str(error), do="install what constraints.txt says")
        return
    try:
        yield from _way(options)
        safe, lines = shake_hands(options, lambda: _open(options), clock.now())
        yield from lines
        with safe:
            yield from door_lines(home, options, safe, clock.now())
    except Blocked as error:
        yield error.line


def _way(options: NodeOptions) -> Iterator[Line]:
    """Yield a line for each step up to the coordinator's port."""
    if options.proxy:
        connect_to_proxy(options.proxy.removeprefix("http://")).close()
        through_proxy(options).close()
        yield ok("proxy", f"{options.proxy.removeprefix('http://')} lets us to {options.address}")
        return
    yield ok("name", f"{options.address} is {resolve(options.address)}")
    connect(options.address).close()
    yield ok("port", f"{options.address} is open")


def _open(options: NodeOptions) -> socket:
    return through_proxy(options) if options.proxy else connect(options.address)
