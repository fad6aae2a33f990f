"""Tell browsers at once that something changed: server-sent events, one line a change.

A page that is told loads itself again, in the background, and takes over what differs; so a change
is drawn by the same code as a page, and nothing about it is told to who may not see it. One
watch looks for all that listen, and looks at nothing while nobody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.responses import StreamingResponse

LOOK_S = 0.05
_SIGN_OF_LIFE_S = 15.0  # proxies cut what is silent for longer


class Watch:
    """Looks for changes, for any number of listeners of one event loop."""

    def __init__(self, look: Callable[[], object], every_s: float = LOOK_S) -> None:
        """Make a watch.

        Args:
            look: Returns something that differs after a change; called often, in the loop.
            every_s: Between two looks.
        """
        self._look, self._every_s = look, every_s
        self._listeners: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ended = False

    async def changes(self) -> AsyncIterator[str]:
        """Yield the text of one event a change, and a sign of life where none comes."""
        changed = asyncio.Event()
        self._listeners.add(changed)
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._watch())
        try:
            yield ": listening\nretry: 2000\n\n"
            while not self.ended:
                try:
                    await asyncio.wait_for(changed.wait(), _SIGN_OF_LIFE_S)
                except TimeoutError:
                    yield ": nothing new\n\n"
                    continue
                changed.clear()
                if not self.ended:
                    yield "event: changed\ndata: 1\n\n"
        finally:
            self._listeners.discard(changed)
            self._stop_if_alone()

    def response(self) -> StreamingResponse:
        """Return the answer to a browser that listens."""
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self.changes(), headers=headers, media_type="text/event-stream")

    def end(self) -> None:
        """Let every listener go; may be called from another thread."""
        self.ended = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended before us
                self._loop.call_soon_threadsafe(self._wake)

    async def _watch(self) -> None:
        seen = self._look()
        while True:
            await asyncio.sleep(self._every_s)
            now = self._look()
            if now != seen:
                seen = now
                self._wake()

    def _wake(self) -> None:
        for changed in self._listeners:
            changed.set()

    def _stop_if_alone(self) -> None:
        if not self._listeners and self._task is not None:
            with suppress(RuntimeError):  # the loop has ended before us
                self._task.cancel()
            self._task = None
