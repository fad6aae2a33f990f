"""The bad line, between real sockets. No test asserts a time; each asserts an order."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from simulations.faults.proxy import FaultyLine

SHORT_S = 0.3


class Echo:
    """A server that sends back what it gets, and remembers how streams ended."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(1 << 16):
                client.sendall(data)
            self.ended.set()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def line(echo: Echo) -> Iterator[FaultyLine]:
    with FaultyLine("127.0.0.1", echo.port) as found:
        yield found


def connect(line: FaultyLine, wait_s: float = 20.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=wait_s)


def receive(client: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (data := client.recv(length - len(found))):
        found += data
    return found


def says_nothing(client: socket.socket) -> bool:
    client.settimeout(SHORT_S)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return True
    finally:
        client.settimeout(20.0)


def test_a_good_line_passes_a_million_bytes_on_unchanged(line: FaultyLine) -> None:
    content = bytes(range(256)) * 4096
    with connect(line) as client:
        threading.Thread(target=client.sendall, args=(content,), daemon=True).start()
        assert receive(client, len(content)) == content
    assert line.accepted == 1


def test_what_is_sent_over_a_slow_line_arrives_after_what_is_sent_later_over_a_fast_one(
    line: FaultyLine, echo: Echo
) -> None:
    line.line.latency_s = 2 * SHORT_S
    with connect(line) as slow, FaultyLine("127.0.0.1", echo.port) as other, connect(other) as fast:
        slow.sendall(b"first")
        fast.sendall(b"second")
        assert receive(fast, 6) == b"second"
        assert says_nothing(slow)
        assert receive(slow, 5) == b"first"


def test_a_narrow_line_lets_bytes_trickle_and_none_is_lost(line: FaultyLine) -> None:
    line.line.bytes_per_s = 2_000.0
    with connect(line) as client:
        client.sendall(b"x" * 4_000)
        assert 0 < len(client.recv(4_000)) < 4_000
        line.mend()
        client.sendall(b"y")
        while b"y" not in client.recv(4_000):
            pass


def test_a_cut_line_ends_connections_and_takes_none_until_it_is_mended(line: FaultyLine) -> None:
    with connect(line) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        line.cut()
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(line)
        line.mend()
    with connect(line) as client:
        client.sendall(b"b")
        assert receive(client, 1) == b"b"


def test_a_reset_is_seen_as_a_reset(line: FaultyLine) -> None:
    with connect(line) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        line.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_half_open_connections_stay_and_say_nothing(line: FaultyLine, echo: Echo) -> None:
    with connect(line) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        line.line.half_open = True
        client.sendall(b"lost")
        assert says_nothing(client)
        line.mend()
        client.sendall(b"b")
        assert receive(client, 1) == b"b"
        assert not echo.ended.is_set()


def test_the_end_of_a_stream_is_held_back(line: FaultyLine, echo: Echo) -> None:
    line.line.close_s = 2 * SHORT_S
    with connect(line) as client:
        client.shutdown(socket.SHUT_WR)
        assert not echo.ended.wait(SHORT_S / 3)
        assert echo.ended.wait(20.0)


def test_a_server_that_is_not_there_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with (
        FaultyLine("127.0.0.1", port) as line,
        connect(line) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)
