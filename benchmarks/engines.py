"""What an engine adds to training: the local engine beside Flower's own Ray simulation.

The same ServerApp and ClientApp run on both, in turn, each in a process of its own. Start-up
lasts until the first message is sent: imports and worker processes. From there to the last
reply folded is the run; on Ray that includes waiting for its actors, which start when they are
first needed, so the rounds alone, once every site has answered, have their own column. ``pure`` is
the same training in two plain processes without any federation, divided evenly. Training is
counted in processor time, so that a busy machine slows all three alike. Run:

    python benchmarks/engines.py --repeats 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

NAMES = ("east", "north", "south", "west")
CASES = {"short": (3, 0.02), "long": (10, 0.5)}  # rounds, seconds of training a site
WORKERS = 2
Seconds = tuple[float, ...]  # start-up, run, its rounds, and (measured outside) the process


class Stopwatch:
    """Notes when the first message went out, the first round was asked, the last one closed."""

    def __init__(self) -> None:
        self.sent = self.first = self.last = 0.0

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Note the first round's start."""
        del committed, rounds
        if round_number == 1:
            self.first = time.perf_counter()

    def identify(self, grid: Any, contract: Any) -> dict[int, str]:
        """Find the sites; on Ray this sends the first messages."""
        from aggregator.identify import identify_simulated
        from fedrad.clock import SystemClock

        self.sent = time.perf_counter()
        return identify_simulated(grid, contract, clock=SystemClock(), deadline_s=120.0)

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Do nothing."""

    def round_closed(self, round_number: int, state: str) -> None:
        """Note the end of the latest round."""
        del round_number, state
        self.last = time.perf_counter()

    def evaluation_done(self, round_number: int) -> None:
        """Do nothing."""


def child(engine: str, case: str) -> None:
    """Run once; print seconds of start-up, of the run and of its rounds."""
    print(json.dumps(pure(case) if engine == "pure" else federation(engine, case)))


def pure(case: str) -> Seconds:
    """Train what the sites train, in two plain processes."""
    import multiprocessing

    start = time.perf_counter()
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(WORKERS + 1)
    rounds, train_s = CASES[case]
    times = rounds * len(NAMES) // WORKERS
    workers = [
        context.Process(target=train_often, args=(gate, times, train_s)) for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    first = time.perf_counter()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - first
    return first - start, took, took


def train_often(gate: Any, times: int, train_s: float) -> None:
    """Train one share of the sites' work."""
    from tiny_site import initial_model, train

    weight = initial_model()["weight"]
    gate.wait()
    for _ in range(times):
        train(weight, train_s)


def federation(engine: str, case: str) -> Seconds:
    """Run one federation; return its seconds."""
    start = time.perf_counter()
    from tiny_site import BenchSites, initial_model

    from aggregator.app import server_app
    from aggregator.setup import RunSetup
    from fedrad.contract import Contract, SiteTerms
    from fedrad.task import parse_task, task_hash
    from simulations import engines

    rounds, train_s = CASES[case]
    task = parse_task(task_table(rounds))
    terms = {
        name: SiteTerms(label=name, patients_agreed=100, train_sigma=0.0, audit_sigma=0.0)
        for name in NAMES
    }
    contract = Contract(schema=1, study="bench", task_hash=task_hash(task), sites=terms)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        setup = RunSetup(
            folder=Path(folder),
            task=task,
            contract=contract,
            initial=initial_model,
            progress=watch,
            identify=lambda grid: watch.identify(grid, contract),
        )
        run = engines.run_local if engine == "local" else engines.run_ray
        run(server_app(setup), NAMES, BenchSites(NAMES, train_s), workers=WORKERS)
    return watch.sent - start, watch.last - watch.sent, watch.last - watch.first


def task_table(rounds: int) -> dict[str, Any]:
    """Return a task that trains for ``rounds`` and evaluates once, at the end."""
    return {
        "schema": 1,
        "task": {"name": "bench", "kind": "classification", "classes": ["n", "y"], "positive": "y"},
        "data": {"modality": "DX", "dimensions": 2},
        "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
        "recipe": {"size": [8, 8], "intensity": {"kind": "range", "constants": "unit"}},
        "model": {"name": "bench"},
        "training": {"steps": 1, "expected_batch_patients": 4.0},
        "federation": {"rounds": rounds},
        "privacy": {"enabled": False},
        "evaluation": {
            "metrics": ["auroc"],
            "edges": [0.0, 0.5, 1.0],
            "every_rounds": rounds,
            "release": "exact",
        },
        "analysis": {"primary": "auroc"},
    }


def measure(engine: str, case: str) -> Seconds:
    """Run a child; return its seconds and those of the whole process."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--child", engine, case]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return *json.loads(answer.stdout.splitlines()[-1]), time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    print(f"4 sites, {WORKERS} workers, median of {options.repeats} runs in turn")
    print("| rounds × training | engine | start-up s | run s | rounds s | process s | / pure |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        report(case, options.repeats)


def report(case: str, repeats: int) -> None:
    """Measure one case in turn and print its rows; ratios are medians of the turns'."""
    found: dict[str, list[Seconds]] = {"pure": [], "local": [], "ray": []}
    for _ in range(repeats):
        for engine, measured in found.items():
            measured.append(measure(engine, case))
    rounds, train_s = CASES[case]
    for engine, measured in found.items():
        times = [statistics.median(part) for part in zip(*measured, strict=True)]
        cells = " | ".join(f"{seconds:.2f}" for seconds in times)
        over = ratio(measured, found["pure"], part=2)
        print(f"| {rounds} × {train_s * 1000:.0f} ms | {engine} | {cells} | {over:.2f} |")
    parts = [ratio(found["local"], found["ray"], part=part) for part in range(4)]
    print(f"| | local / ray | {' | '.join(f'{part:.3f}' for part in parts)} | |")


def ratio(these: list[Seconds], those: list[Seconds], *, part: int) -> float:
    """Return the median over turns of one part's ratio."""
    pairs = zip(these, those, strict=True)
    return statistics.median(this[part] / that[part] for this, that in pairs)


if __name__ == "__main__":
    main()
