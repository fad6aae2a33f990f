"""A bad line between two programs: a TCP proxy on the loopback that needs no rights.

For real sockets, where ``network`` is for virtual ones. It passes bytes on and can delay them,
make them trickle, swallow them while both ends believe in the connection, reset or cut
connections, and hold back their end. What travels is never looked at. Times are seconds.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_CHUNK = 1 << 16
_SLICES = 20  # of a second: how finely a narrow line trickles


@dataclass(slots=True)
class Line:
    """How the line is; may be changed while bytes are on it."""

    latency_s: float = 0.0  # added to every piece, in both directions
    bytes_per_s: float = 0.0  # in each direction; 0: no limit
    half_open: bool = False  # whatever is sent from now on disappears, ends of streams too
    close_s: float = 0.0  # how long the end of a stream is held back


class FaultyLine:
    """Listens on the loopback and passes on to one address, until it is closed."""

    def __init__(self, host: str, port: int, *, at: int = 0) -> None:
        """Listen on port ``at`` of the loopback, 0 for any, and pass on to ``host``:``port``."""
        self.line = Line()
        self.accepted = 0  # connections so far
        self._to = (host, port)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._do(self._listen(at))

    def __enter__(self) -> FaultyLine:
        """Return the line itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection and take no new one."""
        self._do(self._stop_listening())
        self._do(self._end(asyncio.StreamWriter.close))

    def mend(self) -> None:
        """Be a good line again, on the same port; what was cut stays cut."""
        self.line.latency_s = self.line.bytes_per_s = self.line.close_s = 0.0
        self.line.half_open = False
        if self._server is None:
            self._do(self._listen(self.port))

    def reset(self) -> None:
        """Reset every connection at both ends; new ones are taken."""
        self._do(self._end(_reset))

    def close(self) -> None:
        """End everything."""
        self.cut()
        self._do(self._cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, port: int) -> int:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _end(self, how: Callable[[asyncio.StreamWriter], None]) -> None:
        for writer in tuple(self._open):
            how(writer)
        self._open.clear()

    async def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, far_writer}
        ways = [self._pass_on(reader, far_writer), self._pass_on(far_reader, writer)]
        tasks = [self._loop.create_task(way) for way in ways]
        self._tasks.update(tasks)
        await asyncio.wait(tasks)
        self._tasks.difference_update(tasks)
        for end in (writer, far_writer):
            self._open.discard(end)
            end.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes in one direction until their end."""
        with suppress(OSError):  # either end is gone
            while data := await reader.read(_CHUNK):
                await self._send(data, writer)
            await asyncio.sleep(self.line.close_s)
            while self.line.half_open:
                await asyncio.sleep(1 / _SLICES)
            if writer.can_write_eof():
                writer.write_eof()

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.line.latency_s)
        while data and not self.line.half_open:
            most = max(1, int(self.line.bytes_per_s / _SLICES)) if self.line.bytes_per_s else _CHUNK
            piece, data = data[:most], data[most:]
            writer.write(piece)
            await writer.drain()
            if self.line.bytes_per_s:
                await asyncio.sleep(len(piece) / self.line.bytes_per_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other end see a reset: the socket does not linger."""
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
