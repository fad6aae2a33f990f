"""A hospital's proxy: HTTP CONNECT with Basic authentication, and a habit of cutting lines.

It cuts idle ones, and those that carried more than it likes: inside TLS it sees no bodies.
"""

from __future__ import annotations

import base64
import select
import socket
import threading
from contextlib import suppress


class ConnectProxy:
    """Listens on the loopback until it is closed."""

    def __init__(
        self, user: str, password: str, *, idle_s: float = 3600.0, most_bytes: int = 1 << 40
    ) -> None:
        self._wanted = base64.b64encode(f"{user}:{password}".encode())
        self._idle_s, self._most_bytes = idle_s, most_bytes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.opened, self.refused, self.cut, self.capped = [], 0, 0, 0  # destinations; counts
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            if b"Basic " + self._wanted not in head:
                self.refused += 1
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            where = head.split()[1].decode()
            self.opened.append(where)
            host, _, port = where.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other, carried = {client: server, server: client}, 0
        while True:
            ready, _, _ = select.select([client, server], [], [], self._idle_s)
            if not ready:
                self.cut += 1
                return
            for end in ready:
                data = end.recv(1 << 16)
                if not data:
                    return
                other[end].sendall(data)
                carried += len(data)
            if carried > self._most_bytes:
                self.capped += 1
                return
