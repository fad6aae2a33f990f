"""Who may answer in a coordinator's place: a TLS server with any certificate and any clock."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from aggregator.authority import make_authority, make_server
from fedrad.clock import Clock, SystemClock
from fedrad.protocol import versions


class Later(SystemClock):
    """The machine's clock, some time on."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return datetime.now(UTC) + self._by


class Stranger:
    """Answers every question the same, over TLS, on the loopback until it is closed."""

    def __init__(
        self, keys: Path, *, clock: Clock | None = None, status: int = 200, body: str = ""
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(keys / "server.pem", keys / "server.key")
        self._clock, self._status = clock or SystemClock(), status
        self._body = (body or versions.to_text(versions.ours())).encode()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(raw,), daemon=True).start()

    def _answer(self, raw: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as door:
            self.asked.append(door.recv(65_536))
            date = format_datetime(self._clock.now(), usegmt=True)
            head = f"HTTP/1.1 {self._status} X\r\nDate: {date}\r\n"
            head += f"Content-Length: {len(self._body)}\r\nConnection: close\r\n\r\n"
            door.sendall(head.encode() + self._body)


class Silent:
    """Takes connections and sends the same bytes, or closes at once: not TLS."""

    def __init__(self, said: bytes) -> None:
        self._socket, self._said = socket.create_server(("127.0.0.1", 0)), said
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with client, suppress(OSError):
                    client.recv(4096)
                    client.sendall(self._said)


def authority(
    home: Path, name: str, *, host: str = "localhost", clock: Clock | None = None, days: int = 30
) -> Path:
    """Make an authority and its server's certificate; return the folder of keys."""
    (home / "keys").mkdir(parents=True)
    make_authority(home, name, SystemClock() if clock is None else Later(timedelta(days=-800)))
    make_server(home, host, clock or SystemClock(), days=days)
    return home / "keys"
