"""The way out as bytes go: the name, the port, the hospital's proxy.

A step that fails raises ``Blocked`` with its line. What is asked of a proxy is one CONNECT to
one destination; its password is sent and never shown. Seconds throughout.
"""

from __future__ import annotations

import base64
import socket
from contextlib import suppress

from fedrad.documents import printable
from fedrad.flower.door import NodeOptions
from site_client.preflight.lines import UNREACHABLE, Line, no

WAIT_S = 10.0
_LONGEST_ANSWER = 16_384  # bytes of a proxy's


class Blocked(Exception):  # noqa: N818  # a finding that ends the way, not a fault
    """One step of the way that could not be taken."""

    def __init__(self, line: Line) -> None:
        super().__init__(line.about)
        self.line = line


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address loses its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def resolve(address: str) -> str:
    """Return the first address that a name stands for.

    Raises:
        Blocked: It stands for none.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _blocked(
            "name",
            f"{host} is not known here: {getattr(error, 'strerror', None) or error}",
            "ask the network team for this name in the hospital's DNS, or for a line in this "
            "machine's hosts file; if the name is wrong, ask the coordinator",
        ) from None
    return str(found[0][4][0])


def connect(address: str) -> socket.socket:
    """Open a connection.

    Raises:
        Blocked: Nobody listens, or nothing comes back.
    """
    host, port = split_address(address)
    try:
        return socket.create_connection((host, port), timeout=WAIT_S)
    except ConnectionRefusedError:
        what = f"{host} refuses port {port}"
        do = "the coordinator's gateway does not run there, or a firewall refuses: ask the "
        do += "coordinator first, then the network team for the one rule of the dossier"
    except TimeoutError:
        what = f"nothing comes back from {host} port {port} in {WAIT_S:.0f} s"
        do = "a firewall drops it: ask the network team for the one outgoing rule of the dossier"
    except OSError as error:
        what = f"{host} port {port}: {error.strerror or error}"
        do = "there is no way to it from this machine: ask the network team"
    raise _blocked("port", what, do) from None


def through_proxy(options: NodeOptions) -> socket.socket:
    """Open a connection to the coordinator through the proxy of ``site.toml``.

    Raises:
        Blocked: The proxy cannot be reached, or it refuses.
    """
    way = connect_to_proxy(options.proxy.removeprefix("http://"))
    try:
        way.sendall(_ask(options))
        head = _head(way)
    except OSError as error:
        way.close()
        raise _blocked("proxy", f"it breaks off: {error.strerror or error}", _TEAM) from None
    status = _status(head)
    if status == 200:
        return way
    way.close()
    raise _refused(status, head, options)


def connect_to_proxy(address: str) -> socket.socket:
    """Open a connection to the proxy itself.

    Raises:
        Blocked: Its name or port cannot be reached; the line is the proxy's.
    """
    try:
        resolve(address)
        return connect(address)
    except Blocked as error:
        do = "correct address in [proxy] of site.toml, or ask the network team for the proxy's"
        raise _blocked("proxy", error.line.found, do) from None


_TEAM = "ask the network team what the proxy says of this machine and this destination"


def _ask(options: NodeOptions) -> bytes:
    lines = [f"CONNECT {options.address} HTTP/1.1", f"Host: {options.address}"]
    if options.proxy_user:
        secret = f"{options.proxy_user}:{options.proxy_password}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()


def _head(way: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_ANSWER:
        more = way.recv(1)  # what follows the head belongs to TLS
        if not more:
            break
        head += more
    return head


def _status(head: bytes) -> int:
    with suppress(IndexError, ValueError):
        if head.startswith(b"HTTP/1."):
            return int(head.split()[1])
    return 0


def _refused(status: int, head: bytes, options: NodeOptions) -> Blocked:
    said = printable(head.split(b"\r\n")[0].decode("latin-1"), 100) or "nothing"
    where = options.proxy.removeprefix("http://")
    if status == 407:
        given = f"user {options.proxy_user!r}" if options.proxy_user else "no user"
        what = f"{where} wants another password (407); {given} was given"
        do = "correct user and password_file in [proxy] of site.toml; NTLM and Kerberos are not "
        do += "spoken: ask the network team for Basic, or for a rule for this machine without one"
    elif status == 403:
        what = f"{where} forbids {options.address} (403)"
        do = f"ask the network team to allow CONNECT to {options.address} for this machine"
    elif status in {502, 503, 504}:
        what = f"{where} cannot reach {options.address} ({status})"
        do = "the proxy's own way is closed, or the coordinator is not there: ask both"
    else:
        what, do = f"{where} answers {said!r}", "is it an HTTP proxy? " + _TEAM
    return _blocked("proxy", what, do)


def _blocked(about: str, found: str, do: str) -> Blocked:
    return Blocked(no(about, found, do=do, code=UNREACHABLE))
