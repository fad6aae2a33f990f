"""Memory and database of a federation that moves a large model: fedrad beside stock Flower.

Four hospitals as processes on this machine. fedrad: gateway, SuperLink, nodes; for each site
a process that answers through the runner's own code with an update that costs nothing; at
the coordinator the installed ServerApp with its checks, its files and its fold, here in this
process. Stock: Flower's commands as they come, an app that returns what it got, and FedAvg.
Printed are the most memory (VmHWM) of each kind of process and the size of the database
after each round. Run:

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
from answering import environment
from deployed import STUDY, Federation, command_lines, make_doors
from round_overhead import SITES, Stock, echo_bundle

from aggregator.app import server_app
from aggregator.deployment.superlink import DATABASE, FOLDER, runtime, secret
from aggregator.home import key_path
from aggregator.setup import RunSetup, Silent
from aggregator.studies import read_study
from fedrad.flower.serving import serve
from fedrad.flower.tasks import TaskSource
from fedrad.parameters import Parameters
from fedrad.processes import GIVES_MEMORY_BACK, Child, Plan, free_port
from site_client.node.connector import connector_plan, new_secret

TENSORS = 20
_SITE = """
import sys
from answering import answer_tasks, honest
from fedrad.protocol.codec import decode_request, encode_reply
_, port, secret, _home, site = sys.argv
def app(message, context):
    return encode_reply(honest(*decode_request(message), site), message)
answer_tasks(app, port, secret)
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
    settings = (
        f"federation.rounds={rounds}",
        f"evaluation.every_rounds={rounds}",
        "federation.deadline_s=1800.0",
    )
    running = Federation(make_doors(folder, *settings))
    running.start("hub", "aggregator", running.hub)
    try:
        for site in SITES:
            home, port = running.homes.home(site), free_port()
            shared = new_secret(home).decode()
            running.children[site] = Child(connector_plan(home, port))
            command = (sys.executable, "-c", _SITE, str(port), shared, str(home), site)
            log = folder / f"{site}-runner.log"
            plan = Plan(name="runner", command=command, log=log, environment=environment())
            running.children[f"{site}-runner"] = Child(plan)
        running.until_online(SITES, 300.0)
        return _measured(running, mib)
    finally:
        running.close()


def _measured(running: Federation, mib: int) -> tuple[dict[str, int], list[int]]:
    import signal

    from fedrad.flower.control import Control

    launcher = running.children["hub"].process
    launcher.send_signal(signal.SIGSTOP)  # this process takes the task instead
    try:
        place = runtime(running.hub)
        control = Control(place.address, place.ca or b"")
        control.start_run("large", 1)
        control.close()
        offer = TaskSource(place, secret(running.hub)).acquire()
        if offer is None:
            raise SystemExit("there was no task")
        study = read_study(running.hub, STUDY)
        folder = running.hub / "large"
        sizes = Sizes(running.hub / FOLDER)
        idle = memory_of(os.getpid(), "VmRSS")
        setup = RunSetup(
            folder=folder,
            task=study.task,
            contract=study.contract,
            initial=partial(random_model, mib),
            run=STUDY,
            engine="deployment",
            identify=lambda grid: {node.node_id: node.name for node in grid.get_nodes()},
            progress=sizes,
        )
        serve(place, offer.token, lambda _: server_app(setup))
        mark = str(running.homes.folder)
        kinds = {"SuperLink": "deployment.superlink", "node": "connector", "runner": "answer_tasks"}
        found = {name: most(text, mark) for name, text in kinds.items()}
        server = {"server app": memory_of(os.getpid()), "server app, idle": idle}
        return server | found, sizes.found
    finally:
        launcher.send_signal(signal.SIGCONT)


def random_model(mib: int) -> Parameters:
    """Return a model of that size; bytes that no compression makes smaller."""
    generator = np.random.default_rng(1)
    return {f"w{i}": generator.random((mib << 18) // TENSORS, np.float32) for i in range(TENSORS)}


class Sizes(Silent):
    """Notes how large the database is after each round, and how long the round took."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._begun_s = folder, 0.0
        self.found: list[int] = []  # MiB

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Note when."""
        del round_number, committed, rounds
        self._begun_s = time.monotonic()

    def round_closed(self, round_number: int, state: str) -> None:
        """Note how large and how long."""
        size = sum(path.stat().st_size for path in self._folder.glob(f"{DATABASE}*"))
        self.found.append(size >> 20)
        took = time.monotonic() - self._begun_s
        print(f"round {round_number} {state}: {took:.0f} s, database {self.found[-1]} MiB")


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
    if not GIVES_MEMORY_BACK.items() <= os.environ.items():  # this process is the server app
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **GIVES_MEMORY_BACK})  # noqa: S606
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
