"""What a round costs beyond the sites' own work: fedrad's deployment beside stock Flower's.

Four hospitals as processes on this machine, TLS, a small model. fedrad: gateway with mutual
TLS, SuperLink, nodes and warm runners, the tiny phantom study; a round's overhead is its time
at the coordinator, from the question to the commit, less the longest time that a site worked
on it. Stock: ``flower-superlink`` and ``flower-supernode`` as they come, TLS and node keys, an
app that returns what it got, so that a round is all overhead. Both run in blocks, in turns, so
that a busy machine slows both alike. Run:

    python benchmarks/round_overhead.py --rounds 20 --blocks 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "studies"))

import deployed
from deployed import CLOCK, Federation, make_homes
from tiny_study import tiny_task

from aggregator.deployment import runs
from aggregator.enrol import Wishes, enrol
from aggregator.home import key_path
from aggregator.studies import read_study
from fedrad.contract import Conditions
from fedrad.flower.control import Control
from fedrad.processes import Child, Plan, free_port
from fedrad.signatures import new_key, public_text, write_ssh_key
from fedrad.task import write_task

SITES = ("east", "north", "south", "west")
_TIME = re.compile(r"^(\S+ \S+?) .*round (\d+) (begins|is committed)")
_WORK = re.compile(r"train of round (\d+) worked on for ([\d.]+) s")
_PROJECT = """
[project]
name = "echo"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["flwr>=1.41"]
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "echo_app:server"
clientapp = "echo_app:client"
[tool.flwr.app.config]
rounds = 5
out = ""
"""
_APP = """
import json, time
import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
client = ClientApp()
server = ServerApp()
@client.train()
def train(message, context):
    own = np.float32(1 + message.metadata.dst_node_id % 1000 / 1e4)  # each site its own bytes
    model = {k: Array(a.numpy() * own) for k, a in message.content["arrays"].items()}
    records = {"arrays": ArrayRecord(model), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(records), reply_to=message)
class Timed(FedAvg):
    begun, spans = 0.0, []
    def configure_train(self, *given, **named):
        self.begun = time.monotonic()
        return super().configure_train(*given, **named)
    def aggregate_train(self, *given, **named):
        found = super().aggregate_train(*given, **named)
        self.spans.append(time.monotonic() - self.begun)
        return found
@server.main()
def main(grid, context):
    draw = np.random.default_rng(1)
    model = ArrayRecord({f"w{i}": Array(draw.random((16, 16), np.float32)) for i in range(4)})
    plan = Timed(fraction_evaluate=0.0, min_available_nodes=4, min_train_nodes=4)
    plan.start(grid=grid, initial_arrays=model, num_rounds=int(context.run_config["rounds"]))
    with open(context.run_config["out"], "w") as file:
        json.dump(plan.spans, file)
"""


class Stock:
    """Flower as it comes: SuperLink and four SuperNodes in subprocess isolation."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder, self._children = folder, []
        self._port, self._ca = free_port(), keys / "ca.pem"
        environment = {"FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0"}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._environment = environment
        tls = ("--ssl-ca-certfile", self._ca, "--ssl-certfile", keys / "superlink.pem")
        tls += ("--ssl-keyfile", keys / "superlink.key", "--enable-supernode-auth")
        where = ("--host", "127.0.0.1", "--port", self._port, "--database", folder / "state.db")
        quiet = ("--disable-runtime-dependency-installation",)
        self._start("flower-superlink", *where, *tls, *quiet)
        self.control = Control(f"127.0.0.1:{self._port}", self._ca.read_bytes())
        until(self.control.healthy)
        for site in SITES:
            self._node(site)
        until(lambda: sum(node.status == "online" for node in self.control.nodes()) == len(SITES))

    def _start(self, *command: object) -> None:
        words = tuple(str(word) for word in command)
        log = self.folder / f"{len(self._children)}.log"
        plan = Plan(name=words[0], command=words, log=log, environment=self._environment)
        self._children.append(Child(plan))

    def _node(self, site: str) -> None:
        from fedrad.flower.keys import bytes_of_key

        path, key = self.folder / f"{site}.key", new_key()
        write_ssh_key(path, key)
        self.control.register(site, bytes_of_key(public_text(key)))
        link = ("--superlink", f"localhost:{self._port}", "--root-certificates", self._ca)
        where = ("--host", "127.0.0.1", "--port", free_port())
        self._start("flower-supernode", *link, "--auth-supernode-private-key", path, *where)

    def rounds(
        self, bundle: bytes, number: int, *, meanwhile: Callable[[], None] = lambda: None
    ) -> list[float]:
        """Run so many rounds; return the seconds of each."""
        from fedrad.flower.lookup import private

        out = self.folder / f"spans-{time.monotonic_ns()}.json"
        settings = private("flwr.common.serde", "user_config_to_proto")
        run = self.control.start_bundle(bundle, settings({"rounds": number, "out": str(out)}))
        until(lambda: meanwhile() or _finished(self.control, run), 3000)
        return json.loads(out.read_text())

    def close(self) -> None:
        """End all."""
        self.control.close()
        for child in reversed(self._children):
            child.end()


def _finished(control: Control, run: int) -> bool:
    found = next(one for one in control.runs() if one.run_id == run)
    if found.outcome == "failed":
        raise SystemExit(f"stock Flower's run failed: {found.details}")
    return found.status == "finished"


def echo_bundle(folder: Path, *, shape: str = "(16, 16)", tensors: int = 4) -> bytes:
    """Build the stock app, for a model of such tensors, with Flower's own command."""
    app = folder / "echo"
    app.mkdir()
    (app / "pyproject.toml").write_text(_PROJECT)
    code = _APP.replace("(16, 16)", shape).replace("range(4)", f"range({tensors})")
    (app / "echo_app.py").write_text(code)
    (app / "LICENSE").write_text("Apache-2.0\n")
    flwr = str(Path(sys.executable).parent / "flwr")
    environment = os.environ | {"FLWR_HOME": str(folder / "cli"), "FLWR_TELEMETRY_ENABLED": "0"}
    subprocess.run([flwr, "build", "--app", str(app)], cwd=folder, check=True, env=environment)
    return next(folder.glob("*.fab")).read_bytes()


@contextlib.contextmanager
def fedrad_studies(folder: Path, rounds: int, blocks: int) -> Iterator[Federation]:
    """Open a coordinator and four hospitals with so many tiny studies of so many rounds."""
    deployed.SITES = SITES
    settings = ("privacy.noise_multiplier=12.0", "evaluation.every_rounds=1000")
    homes = make_homes(folder, f"federation.rounds={rounds}", *settings)
    for block in range(1, blocks):
        task = tiny_task(f"federation.rounds={rounds}", *settings, f"task.name=tiny{block}")
        write_task(folder / f"{block}.toml", task)
        conditions = Conditions(expires="2099-12-31", recipients=("the sites",))
        name = f"{deployed.STUDY}{block}"
        wishes = Wishes(study=name, task=folder / f"{block}.toml", conditions=conditions)
        enrol(homes.hub, [homes.request(site) for site in SITES], wishes, CLOCK)
        for site in SITES:
            homes.accept(site, homes.invitation(site, name))
            homes.approve(site, name)
    running = Federation(homes)
    running.open(*SITES)
    running.until_online(SITES, 300.0)
    try:
        yield running
    finally:
        running.close()


def study_rounds(running: Federation, study: str) -> list[tuple[float, float]]:
    """Run a study; return of each round its seconds, and those of the site that worked longest."""
    logs = [running.hub / "superlink" / "run.log"]
    logs += [running.homes.home(site) / "logs" / "runner.log" for site in SITES]
    sizes = [len(log.read_text()) if log.exists() else 0 for log in logs]
    number = runs.begin(running.hub, read_study(running.hub, study))
    runs.follow(running.hub, number, lambda _: None)
    told, *worked = (log.read_text()[size:] for log, size in zip(logs, sizes, strict=True))
    work: dict[int, float] = {}
    for found in (found for text in worked for found in _WORK.finditer(text)):
        work[int(found[1])] = max(work.get(int(found[1]), 0.0), float(found[2]))
    begun, spans = {}, []
    for found in filter(None, map(_TIME.match, told.splitlines())):
        moment = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007
        if found[3] == "begins":
            begun[int(found[2])] = moment
        else:
            whole = (moment - begun[int(found[2])]).total_seconds()
            spans.append((whole, work[int(found[2])]))
    return spans


def until(holds: Callable[[], Any], wait_s: float = 300.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + wait_s
    while not holds():
        if time.monotonic() > end_s:
            raise SystemExit("something did not come in time")
        time.sleep(0.3)


def line_of(name: str, values: list[float]) -> str:
    """Return a table's row: mean, median, spread."""
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    cells = (min(values), cuts[0], statistics.median(values), cuts[-1], max(values))
    cells = (len(values), f"{statistics.fmean(values):.2f}", *(f"{cell:.2f}" for cell in cells))
    return f"| {name} | {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--stock-rounds", type=int, default=20)
    given = parser.parse_args()
    ours: list[tuple[float, float]] = []
    stocks: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ours").mkdir()
        (folder / "stock").mkdir()
        bundle, each = echo_bundle(folder), given.rounds // given.blocks
        with fedrad_studies(folder / "ours", each, given.blocks) as running:
            stock = Stock(folder / "stock", key_path(running.hub, "ca.pem").parent)
            try:
                for block in range(given.blocks):
                    ours += study_rounds(running, f"{deployed.STUDY}{block or ''}")
                    stocks += stock.rounds(bundle, given.stock_rounds // given.blocks)
                    print(f"after block {block + 1}: load {os.getloadavg()[0]:.1f}", flush=True)
            finally:
                stock.close()
    print("\n| seconds a round | rounds | mean | least | 10 % | median | 90 % | most |")
    print("|---|---|---|---|---|---|---|---|")
    print(line_of("fedrad, beyond the sites' work", [whole - work for whole, work in ours]))
    print(line_of("fedrad, whole", [whole for whole, _ in ours]))
    print(line_of("stock Flower, whole (its app does nothing)", stocks))


if __name__ == "__main__":
    main()
