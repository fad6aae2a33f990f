"""Memory and database of a federation that moves a large model: fedrad's transport beside stock.

Four hospitals as processes on this machine. fedrad: gateway, SuperLink, nodes, and for each
site a process that answers with what it got through the runner's own code; at the coordinator
the grid takes one reply at a time and drops it. Stock: Flower's commands as they come with an
app that returns what it got and FedAvg. Printed are the most memory (VmHWM) of each kind of
process and the size of the database after each round. Run:

    python benchmarks/large_messages.py --mib 200 --rounds 3
    python benchmarks/large_messages.py --mib 20 --rounds 10 --without-stock
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "studies"))

import deployed
import numpy as np
from deployed import Federation, command_lines, make_doors
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid
from round_overhead import SITES, Stock, echo_bundle

from aggregator.deployment.superlink import DATABASE, FOLDER, runtime, secret
from aggregator.exchange import receive
from aggregator.home import key_path
from fedrad.clock import SystemClock
from fedrad.flower.serving import serve
from fedrad.flower.tasks import TaskSource
from fedrad.processes import Child, Plan, free_port
from site_client.node.connector import connector_plan, new_secret

TENSORS = 20
_ECHO = """
import sys, time
from flwr.app import Message
from fedrad.flower.tasks import *
runtime = Runtime("127.0.0.1:" + sys.argv[1])
source = TaskSource(runtime, sys.argv[2].encode())
while True:
    try:
        offer = source.acquire()
        if offer is None:
            time.sleep(0.2)
            continue
        task = ClientTask(runtime, offer)
        answer(runtime, offer.token, task.open(), lambda m, c: Message(m.content, reply_to=m))
    except UNREACHABLE:
        time.sleep(0.5)
"""


def memory_of(pid: int, what: str = "VmHWM") -> int:
    """Return a process's memory in MiB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith(what)), 0)


def most(text: str, mark: str) -> int:
    """Return the most memory of the processes whose command line holds both texts."""
    found = [memory_of(pid) for pid, line in command_lines() if text in line and mark in line]
    return max(found, default=0)


def our_rounds(folder: Path, mib: int, rounds: int) -> tuple[dict[str, int], list[int]]:
    """Move the model through fedrad's transport; return memory by process, database sizes."""
    deployed.SITES = SITES
    running = Federation(make_doors(folder))
    running.start("hub", "aggregator", running.hub)
    try:
        for site in SITES:
            home, port = running.homes.home(site), free_port()
            shared = new_secret(home).decode()
            running.children[site] = Child(connector_plan(home, port))
            command = (sys.executable, "-c", _ECHO, str(port), shared, str(home), "echo")
            plan = Plan(name="echo", command=command, log=folder / f"{site}-echo.log")
            running.children[f"{site}-echo"] = Child(plan)
        running.until_online(SITES, 300.0)
        return _measured(running, mib, rounds)
    finally:
        running.close()


def _measured(running: Federation, mib: int, rounds: int) -> tuple[dict[str, int], list[int]]:
    import signal

    from fedrad.flower.control import Control

    launcher, sizes = running.children["hub"].process, []
    launcher.send_signal(signal.SIGSTOP)  # this process takes the task instead
    try:
        place = runtime(running.hub)
        control = Control(place.address, place.ca or b"")
        control.start_run("large", 1)
        control.close()
        offer = TaskSource(place, secret(running.hub)).acquire()
        if offer is None:
            raise SystemExit("there was no task")
        idle = memory_of(os.getpid(), "VmRSS")
        database = running.hub / FOLDER
        ask = partial(_ask, (mib, rounds), database, sizes)
        serve(place, offer.token, lambda _: ask)
        mark = str(running.homes.folder)
        kinds = {"SuperLink": "deployment.superlink", "node": "connector", "runner": "echo"}
        found = {name: most(text, mark) for name, text in kinds.items()}
        server = {"server app": memory_of(os.getpid()), "server app, idle": idle}
        return server | found, sizes
    finally:
        launcher.send_signal(signal.SIGCONT)


def _ask(
    amount: tuple[int, int], database: Path, sizes: list[int], grid: Grid, context: Context
) -> None:
    del context
    mib, rounds = amount
    generator, nodes = np.random.default_rng(1), list(grid.get_node_ids())
    for number in range(rounds):
        begun_s = time.monotonic()
        arrays = ArrayRecord(
            {
                f"w{i}": Array(generator.random((mib << 18) // TENSORS, np.float32))
                for i in range(TENSORS)
            }
        )
        content = {"arrays": arrays, "c": ConfigRecord({"round": number})}
        asked = [
            Message(RecordDict(content), node, "train", group_id=str(number)) for node in nodes
        ]
        ids = list(grid.push_messages(asked))
        got = 0
        for reply in receive(grid, ids, 1800.0, clock=SystemClock()):
            got += not reply.has_error()
            del reply
        if got != len(nodes):
            raise SystemExit(f"{got} of {len(nodes)} answered")
        size = sum(p.stat().st_size for p in database.glob(f"{DATABASE}*"))
        sizes.append(size >> 20)
        print(f"round {number + 1}: {time.monotonic() - begun_s:.0f} s, database {sizes[-1]} MiB")


def stock_rounds(folder: Path, mib: int, rounds: int) -> dict[str, int]:
    """Move the model through stock Flower; return the most memory by process."""
    hub = make_doors(folder / "keys").hub
    bundle = echo_bundle(folder, shape=f"({(mib << 18) // TENSORS},)", tensors=TENSORS)
    (folder / "stock").mkdir()
    stock, watched = Stock(folder / "stock", key_path(hub, "ca.pem").parent), {}

    def watch() -> None:
        kinds = {"SuperLink": "flower-superlink", "node": "flower-supernode"}
        kinds |= {"server app": "flwr-serverapp", "runner": "flwr-clientapp"}
        for name, text in kinds.items():
            watched[name] = max(watched.get(name, 0), most(text, ""))

    try:
        stock.rounds(bundle, rounds, meanwhile=watch)
    finally:
        stock.close()
    return watched


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-stock", action="store_true")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "ours").mkdir()
        ours, sizes = our_rounds(Path(name) / "ours", given.mib, given.rounds)
    stock: dict[str, int] = {}
    if not given.without_stock:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "keys").mkdir()
            stock = stock_rounds(Path(name), given.mib, given.rounds)
    print(f"\nmodel {given.mib} MiB, {len(SITES)} sites, {given.rounds} rounds; MiB at most")
    print("| process | fedrad | stock |\n|---|---|---|")
    for kind, value in ours.items():
        print(f"| {kind} | {value} | {stock.get(kind, '–')} |")
    above = (ours["server app"] - ours["server app, idle"]) / given.mib
    print(f"\nserver app: {above:.1f} models above its idle memory; database after rounds: {sizes}")


if __name__ == "__main__":
    main()
