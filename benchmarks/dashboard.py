"""How long a page of the dashboard takes, and how soon viewers hear of a change.

A run of 50 hospitals and 200 rounds with invented rows, shown by the command as people start it.
Pages: every one is asked again after the run was written to, so that nothing kept is served.
Viewers: 20 connections listen, as browsers do, while an event is committed every 1.5 s: heard is
from the commit's return to the event's last byte, drawn to the last byte of the first screen, where
the viewers ask for it at once. One machine, viewers and server beside each other.

    python benchmarks/dashboard.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from histories import History, write_history

from aggregator.store import Store

PAGES = {
    "first screen": "/runs/large",
    "course": "/runs/large/course",
    "site": "/runs/large/site/C",
    "alarms": "/runs/large/alarms",
    "models": "/runs/large/models",
}


@dataclass
class Viewer:
    """One browser's two connections: one that listens, one that asks."""

    draws: bool  # asks for the first screen at every change
    listens: bool = False
    heard: list[float] = field(default_factory=list)  # seconds
    drawn: list[float] = field(default_factory=list)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--changes", type=int, default=30)
    asked = parser.parse_args()
    history = History(name="large", sites=asked.sites, rounds=asked.rounds,
                      planned=asked.rounds + 200, windows=12, trouble=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = write_history(Path(folder) / "large", history)
        command = [sys.executable, "-c", "from aggregator.cli import app; app()", "dashboard"]
        options = ["--run", str(run), "--port", "0", "--json"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
            try:
                said = next(iter(server.stdout or ()))
                address = json.loads(said)["viewer"]
                time_pages(run, address, server.pid)
                for draws in (False, True):
                    asyncio.run(time_viewers(run, address, asked, draws=draws))
            finally:
                server.terminate()


def cpu_s(pid: int) -> float:
    """Return the processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def time_pages(run: Path, address: str, pid: int, repeats: int = 11) -> None:
    """Print how long each page takes when it has to be drawn, the first time left out."""
    base = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    print(f"{'page':14} {'median s':>9} {'slowest s':>10} {'CPU s':>7} {'kB':>8}")
    with httpx.Client(base_url=base, timeout=60) as client, Store(run / "run.sqlite") as store:
        client.get(address)
        for name, path in PAGES.items():
            times, size, worked_s = [], 0, 0.0
            for number in range(repeats + 1):
                store.record_event("note", detail={"text": f"{name} {number}"})
                begun, before_s = time.perf_counter(), cpu_s(pid)
                answer = client.get(path)
                times.append(time.perf_counter() - begun)
                worked_s += (cpu_s(pid) - before_s) * (number > 0)
                answer.raise_for_status()
                size = len(answer.content)
            kept = times[1:]
            middle, each_s = statistics.median(kept), worked_s / repeats
            print(f"{name:14} {middle:9.3f} {max(kept):10.3f} {each_s:7.3f} {size / 1e3:8.1f}")


async def time_viewers(run: Path, address: str, asked: argparse.Namespace, *, draws: bool) -> None:
    """Print how soon the viewers heard, and had the page."""
    base, viewers = "{0.scheme}://{0.netloc}".format(urlsplit(address)), []
    committed = [0.0]
    tasks = []
    async with httpx.AsyncClient(base_url=base, timeout=600) as first:
        await first.get(address)
        cookies = first.cookies
    for _ in range(asked.viewers):
        viewer = Viewer(draws)
        viewers.append(viewer)
        tasks.append(asyncio.create_task(watch(base, cookies, viewer, lambda: committed[0])))
    while not all(viewer.listens for viewer in viewers):
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    with Store(run / "run.sqlite") as store:
        for number in range(asked.changes):
            await asyncio.to_thread(
                store.record_event, "note", asked.rounds, detail={"text": f"change {number}"}
            )
            committed[0] = time.perf_counter()
            await asyncio.sleep(1.5)
        await asyncio.sleep(3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    report(viewers, asked.changes, "and ask for the first screen" if draws else "that only listen")


async def watch(
    base: str, cookies: httpx.Cookies, viewer: Viewer, committed: Callable[[], float]
) -> None:
    """Listen, and where the viewer draws ask for the first screen at every change."""
    async with (
        httpx.AsyncClient(base_url=base, cookies=cookies, timeout=600) as listening,
        httpx.AsyncClient(base_url=base, cookies=cookies, timeout=600) as asking,
        listening.stream("GET", "/events") as events,
    ):
        async for line in events.aiter_lines():
            viewer.listens = True
            if line.startswith("data:"):
                since = committed()
                viewer.heard.append(time.perf_counter() - since)
                if not viewer.draws:
                    continue
                (await asking.get(PAGES["first screen"])).raise_for_status()
                viewer.drawn.append(time.perf_counter() - since)


def report(viewers: list[Viewer], changes: int, what: str) -> None:
    """Print the distribution over all viewers and changes."""
    print(f"\n{len(viewers)} viewers {what}, {changes} changes")
    print(f"{'':14} {'median ms':>10} {'p95 ms':>8} {'slowest ms':>11} {'seen':>6}")
    for name in ("heard", "drawn"):
        times = sorted(one for viewer in viewers for one in getattr(viewer, name)[:changes])
        if not times:
            continue
        p95 = times[int(0.95 * (len(times) - 1))]
        numbers = (statistics.median(times), p95, times[-1])
        print(f"{name:14} " + " ".join(f"{1e3 * n:10.1f}" for n in numbers) + f" {len(times):6d}")


if __name__ == "__main__":
    main()
