"""A change reaches every listener; nobody listening, nothing is looked at."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from fedrad.screens.live import Watch


class Counter:
    """Something that changes, and counts how often it was looked at."""

    def __init__(self) -> None:
        self.value = self.looks = 0

    def look(self) -> int:
        """Return what is there."""
        self.looks += 1
        return self.value


async def heard(watch: Watch, events: int) -> list[str]:
    """Return the first lines that one listener is sent."""
    found: list[str] = []
    async with aclosing(watch.changes()) as changes:
        async for text in changes:
            found.append(text)
            if len(found) > events:
                break
    return found


def test_one_change_is_told_to_all_that_listen() -> None:
    async def run() -> list[list[str]]:
        counter = Counter()
        watch = Watch(counter.look, every_s=0.01)
        listeners = [asyncio.create_task(heard(watch, 1)) for _ in range(20)]
        await asyncio.sleep(0.1)
        counter.value += 1
        return await asyncio.wait_for(asyncio.gather(*listeners), 20)

    assert all("event: changed" in texts[1] for texts in asyncio.run(run()))


def test_nothing_is_looked_at_while_nobody_listens() -> None:
    async def run() -> tuple[int, int]:
        counter = Counter()
        watch = Watch(counter.look, every_s=0.01)
        assert counter.looks == 0
        listener = asyncio.create_task(heard(watch, 1))
        await asyncio.sleep(0.1)
        counter.value += 1
        await asyncio.wait_for(listener, 20)
        await asyncio.sleep(0.05)
        before = counter.looks
        await asyncio.sleep(0.1)
        return before, counter.looks

    before, after = asyncio.run(run())
    assert before == after > 0


def test_the_end_lets_every_listener_go() -> None:
    async def run() -> list[str]:
        watch = Watch(lambda: 0, every_s=0.01)
        listener = asyncio.create_task(heard(watch, 5))
        await asyncio.sleep(0.05)
        watch.end()
        return await asyncio.wait_for(listener, 20)

    assert len(asyncio.run(run())) == 1
