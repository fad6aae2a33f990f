"""What clipping patients costs: time and memory beside the same network trained without privacy.

Every row runs its arms in turn, over and over, in one process on one thread; a figure is the
median, over turns, of an arm's CPU time over that of plain training (forward and backward pass
on the same batch) in the same turn, with the quartiles behind it. Peak memory comes from one
forked process for each arm.
Run: ``python benchmarks/gradients.py [ROW...] [--repeats N] [--opacus] [--memory] [--layers]``.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from opacus import GradSampleModule
from torch import nn

from fedrad.models.networks import build
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task, parse_task
from site_client.training.gradients import clipped_sum, plain_sum
from site_client.training.gradients.engine import shares_of
from site_client.training.gradients.grouping import Grouping
from site_client.training.gradients.sums import GradientSum
from site_client.training.losses import Loss, loss_of
from site_client.training.memory import freed_memory_kept
from site_client.training.private import noised_mean
from site_client.training.source import PatientImages, Record, stack_images, stack_truth

BOUND = 0.1
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One network at one size and batch, and the goal for clipping."""

    network: str
    size: tuple[int, ...]
    batch: int
    goal: float

    @property
    def name(self) -> str:
        """What the row is called on the command line."""
        return f"{self.network}-{'x'.join(map(str, self.size))}-{self.batch}"


ROWS = (
    Row("densenet121", (64, 64), 32, 1.35),
    Row("resnet18", (64, 64), 32, 1.35),
    Row("unet", (64, 64), 32, 1.6),
    Row("densenet121", (224, 224), 8, 1.3),
    Row("resnet18", (224, 224), 8, 1.3),
    Row("unet", (224, 224), 8, 1.3),
    Row("unet", (64, 64, 64), 4, 1.2),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A row made ready."""

    module: nn.Module
    records: list[Record]
    loss: Loss


def main() -> None:
    """Print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=[row.name for row in ROWS])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--opacus", action="store_true", help="time its hooks, too")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--layers", action="store_true", help="which rule each layer uses")
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    for row in ROWS:
        if row.name in wishes.rows:
            case = _case(row)
            if wishes.layers:
                _print_layers(row, case)
            elif wishes.memory:
                _print_memory(row, case)
            else:
                with freed_memory_kept():  # as a round of training does
                    _print_times(row, case, _arms(case, opacus=wishes.opacus), wishes.repeats)


def _print_times(row: Row, case: Case, arms: dict[str, Callable[[], object]], repeats: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + 1):
        for name, arm in arms.items():
            start_s = time.process_time()
            arm()
            if turn:
                times[name].append(time.process_time() - start_s)
    plain_s = statistics.median(times["plain"])
    weights = sum(tensor.numel() for tensor in case.module.parameters())
    cells = [f"{row.name} ({weights / 1e6:.1f} M)", f"{plain_s * 1e3:.0f} ms"]
    for name, found in times.items():
        if name != "plain":
            pairs = [mine / base for mine, base in zip(found, times["plain"], strict=True)]
            low, middle, high = statistics.quantiles(pairs, n=4)
            cells.append(f"{name} {middle:.2f} ({low:.2f}-{high:.2f})")
    print(f"| {' | '.join(cells)} | goal {row.goal} |", flush=True)


def _arms(case: Case, *, opacus: bool) -> dict[str, Callable[[], object]]:
    optimiser = torch.optim.SGD(case.module.parameters(), lr=1e-6, momentum=0.9)
    rng = noise_source()

    def clipped() -> GradientSum:
        return clipped_sum(case.module, case.records, case.loss, max_norm=BOUND)

    def step() -> None:
        noised = noised_mean(clipped(), rng, std=BOUND, divisor=float(len(case.records)))
        for tensor, value in zip(case.module.parameters(), noised.values(), strict=True):
            tensor.grad = value
        optimiser.step()
        optimiser.zero_grad()

    arms: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_sum(case.module, case.records, case.loss),
        "clipped": clipped,
        "whole step": step,
    }
    theirs = _opacus_arm(case) if opacus else None
    return arms if theirs is None else {**arms, "opacus": theirs}


def _opacus_arm(case: Case) -> Callable[[], object] | None:
    """Return one pass with Opacus's hooks and its way to clip, ``None`` if they fail.

    Activations are not in place there.
    """
    import copy

    module = copy.deepcopy(case.module)
    for child in module.modules():
        if hasattr(child, "inplace"):
            child.inplace = False
    wrapped = GradSampleModule(module)
    images, truth = stack_images(case.records), stack_truth(case.records)

    def run() -> object:
        wrapped.zero_grad(set_to_none=True)
        try:
            case.loss(wrapped(images), truth).mean().backward()
        except RuntimeError as error:
            return str(error)
        rows = [tensor.grad_sample for tensor in module.parameters()]
        norms = torch.stack([row.flatten(1).norm(dim=1) for row in rows]).norm(dim=0)
        factors = (BOUND / norms).clamp(max=1.0)
        return [torch.tensordot(factors, row, 1) for row in rows]

    found = run()
    if isinstance(found, str):
        print(f"(opacus fails: {found.splitlines()[0][:100]})")
        return None
    return run


def _print_memory(row: Row, case: Case) -> None:
    arms = _arms(case, opacus=False)
    plain, clipped, step = (_peak_mib(arms[name]) for name in ("plain", "clipped", "whole step"))
    print(
        f"| {row.name} | plain {plain:.0f} MiB | clipped {clipped:.0f} MiB, {clipped / plain:.2f} "
        f"| whole step {step:.0f} MiB, {step / plain:.2f} | goal 1.7 |",
        flush=True,
    )


def _peak_mib(arm: Callable[[], object]) -> float:
    """Return how far two runs raise the peak of a forked process above its start."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        before = _resident()
        arm(), arm()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        os.write(writer, str((peak - before) / MIB).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return float(pipe.read())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _print_layers(row: Row, case: Case) -> None:
    images, truth = stack_images(case.records), stack_truth(case.records)
    grouping = Grouping((1,) * len(case.records))
    shares = shares_of(case.module, images, lambda out: case.loss(out, truth), grouping)
    print(f"\n{row.name}: {dict(Counter(share.way for share in shares))}")
    for share in reversed(shares):
        if share.name.endswith("weight"):
            print(f"  {share.name:60} {share.way}")


def _case(row: Row) -> Case:
    task = _task(row)
    rng = np.random.default_rng(1)
    records: list[Record] = []
    for index in range(row.batch):
        image = rng.random((1, 1, *row.size), dtype=np.float32)
        mask = (image > 0.5).astype(np.uint8) if task.task.kind == "segmentation" else None
        records.append(PatientImages(f"{index:04d}", image, index % 2, mask))
    return Case(build(task, seed=1), records, loss_of(task))


def _task(row: Row) -> Task:
    dense = row.network == "unet"
    training: dict[str, Any] = {"steps": 1, "expected_batch_patients": row.batch}
    return parse_task(
        {
            "schema": 1,
            "task": {
                "name": "clipping",
                "kind": "segmentation" if dense else "classification",
                "classes": ["no", "yes"],
                "positive": "yes",
            },
            "data": {"modality": "DX", "dimensions": len(row.size)},
            "labels": {"source": "seg" if dense else "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {
                "size": list(row.size),
                "intensity": {"kind": "range", "constants": "dx-unit-1"},
            },
            "model": {"name": row.network},
            "training": {**training, **({"loss": "dice_ce"} if dense else {})},
            "federation": {"rounds": 1},
            "privacy": {"enabled": False},
            "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
            "analysis": {"primary": "auroc"},
        }
    )


if __name__ == "__main__":
    main()
