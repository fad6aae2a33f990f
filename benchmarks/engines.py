"""What an engine adds to training: the local engine beside Flower's own Ray simulation.

The same ServerApp and ClientApp run on both, in turn, each in a process of its own. The
clock of a run goes from the first message sent to the last reply folded; start-up (imports,
worker processes or Ray) has a column of its own, and so has the whole process. Run:

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
CASES = {"short": (3, 0.04), "long": (10, 0.5)}  # rounds, seconds of training a site
WORKERS = 2


class Stopwatch:
    """Progress that notes when the first round was asked and the last one closed."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Note the first round's start."""
        del committed, rounds
        if round_number == 1:
            self.first = time.perf_counter()

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Do nothing."""

    def round_closed(self, round_number: int, state: str) -> None:
        """Note the end of the latest round."""
        del round_number, state
        self.last = time.perf_counter()

    def evaluation_done(self, round_number: int) -> None:
        """Do nothing."""


def child(engine: str, case: str) -> None:
    """Run one federation; print start-up and run in seconds."""
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
            initial=initial_model(),
            progress=watch,
        )
        run = engines.run_local if engine == "local" else engines.run_ray
        run(server_app(setup), NAMES, BenchSites(NAMES, train_s), workers=WORKERS)
    print(json.dumps([watch.first - start, watch.last - watch.first]))


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


def measure(engine: str, case: str) -> tuple[float, float, float]:
    """Run a child; return seconds of start-up, of the run, and of the whole process."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--child", engine, case]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    startup, run = json.loads(answer.stdout.splitlines()[-1])
    return startup, run, time.perf_counter() - start


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
    print("| rounds × training | engine | start-up s | run s | process s | run / pure training |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        report(case, options.repeats)


def report(case: str, repeats: int) -> None:
    """Measure one case on both engines and print its rows."""
    found: dict[str, list[tuple[float, float, float]]] = {"local": [], "ray": []}
    for _ in range(repeats):
        for engine, measured in found.items():
            measured.append(measure(engine, case))
    rounds, train_s = CASES[case]
    pure = rounds * train_s * len(NAMES) / WORKERS
    middle = {
        engine: [statistics.median(run[part] for run in measured) for part in range(3)]
        for engine, measured in found.items()
    }
    for engine, (startup, run, process) in middle.items():
        row = f"| {rounds} × {train_s * 1000:.0f} ms | {engine} | {startup:.1f} | {run:.2f} "
        print(f"{row}| {process:.1f} | {run / pure:.2f} |")
    ratios = [middle["local"][part] / middle["ray"][part] for part in range(3)]
    print(f"| | local / ray | {ratios[0]:.2f} | {ratios[1]:.3f} | {ratios[2]:.2f} | |")


if __name__ == "__main__":
    main()
