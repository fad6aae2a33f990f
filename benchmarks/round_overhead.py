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
from deployed import Federation, make_homes

from aggregator.home import key_path
from fedrad.flower.control import Control
from fedrad.processes import Child, Plan, free_port
from fedrad.signatures import new_key, public_text, write_ssh_key

SITES = ("east", "north", "south", "west")
_TIME = re.compile(r"^(\S+ \S+?) .*round (\d+) (begins|is committed)")
_WORK = re.compile(r"train of round (\d+) worked on for ([\d.]+) s")
_PROJECT = """
[project]
name = "echo"
version = "1.0.0"
license = { file = "LICENSE" }
dependencies = ["flwr>=1.41"]
[tool.flwr.app]
publisher = "bench"
fab-format-version = 1
flwr-version-target = ">=1.41"
fab-include = ["echo_app.py", "LICENSE"]
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
client, server = ClientApp(), ServerApp()
@client.train()
def train(message, context):
    records = {"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}
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
    model = ArrayRecord({f"w{i}": Array(np.zeros((16, 16), np.float32)) for i in range(4)})
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
def fedrad_study(folder: Path, rounds: int) -> Iterator[Federation]:
    """Open a coordinator and four hospitals with the tiny study of so many rounds."""
    deployed.SITES = SITES
    settings = (f"federation.rounds={rounds}", "privacy.noise_multiplier=12.0")
    homes = make_homes(folder, *settings, "evaluation.every_rounds=1000")
    running = Federation(homes)
    running.open(*SITES)
    running.until_online(SITES, 300.0)
    try:
        yield running
    finally:
        running.close()


def spans_of(running: Federation) -> dict[int, tuple[float, float]]:
    """Return round -> seconds at the coordinator, and of the site that worked longest."""
    begun, whole = {}, {}
    for line in (running.hub / "superlink" / "run.log").read_text().splitlines():
        if found := _TIME.match(line):
            moment = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007
            if found[3] == "begins":
                begun[int(found[2])] = moment
            else:
                whole[int(found[2])] = (moment - begun[int(found[2])]).total_seconds()
    work: dict[int, float] = {}
    for site in SITES:
        for line in (running.homes.home(site) / "logs" / "runner.log").read_text().splitlines():
            if found := _WORK.search(line):
                number = int(found[1])
                work[number] = max(work.get(number, 0.0), float(found[2]))
    return {number: (seconds, work[number]) for number, seconds in whole.items()}


def until(holds: Callable[[], Any], wait_s: float = 300.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + wait_s
    while not holds():
        if time.monotonic() > end_s:
            raise SystemExit("something did not come in time")
        time.sleep(0.3)


def line_of(name: str, values: list[float]) -> str:
    """Return a table's row: mean, median, spread."""
    cuts = statistics.quantiles(values, n=10)
    cells = (min(values), cuts[0], statistics.median(values), cuts[-1], max(values))
    cells = (len(values), f"{statistics.fmean(values):.2f}", *(f"{cell:.2f}" for cell in cells))
    return f"| {name} | {' | '.join(map(str, cells))} |"


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=4)
    given = parser.parse_args()
    stock_spans: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ours").mkdir()
        (folder / "stock").mkdir()
        bundle = echo_bundle(folder)
        with fedrad_study(folder / "ours", given.rounds) as running:
            stock = Stock(folder / "stock", key_path(running.hub, "ca.pem").parent)
            try:
                stock_spans = in_turns(running, stock, bundle, given)
            finally:
                stock.close()
            spans = spans_of(running)
    print(f"load at the end: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    print("| seconds a round | rounds | mean | least | 10 % | median | 90 % | most |")
    print("|---|---|---|---|---|---|---|---|")
    warm = [value for number, value in sorted(spans.items()) if number > 1]
    print(line_of("fedrad, beyond the sites' work", [whole - work for whole, work in warm]))
    print(line_of("fedrad, whole", [whole for whole, _ in warm]))
    print(line_of("stock Flower, whole (its app does nothing)", stock_spans))
    first = spans[1]
    print(f"\nfedrad's first round (cold): {first[0]:.1f} s, of which {first[1]:.1f} s work")


def in_turns(
    running: Federation, stock: Stock, bundle: bytes, given: argparse.Namespace
) -> list[float]:
    """Let both run in blocks; fedrad's study is stopped in between, Flower's runs end."""
    from aggregator.deployment.runs import begin
    from aggregator.studies import read_study

    begin(running.hub, read_study(running.hub, deployed.STUDY))
    spans: list[float] = []
    log = running.hub / "superlink" / "run.log"
    for block in range(1, given.blocks + 1):
        wanted = given.rounds * block // given.blocks
        until(lambda n=wanted: log.exists() and f"round {n} is" in log.read_text(), 1200)
        pause(running, stop=True)
        spans += stock.rounds(bundle, given.rounds // given.blocks)
        pause(running, stop=False)
    return spans


def pause(running: Federation, *, stop: bool) -> None:
    """Hold the study's program, so that only one of both works at a time."""
    import signal

    for pid in running.study_pids():
        os.kill(pid, signal.SIGSTOP if stop else signal.SIGCONT)


if __name__ == "__main__":
    main()
