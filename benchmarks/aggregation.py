"""Fold many replies: time against a plain numpy sum of the same files, and peak memory.

Both read the same safetensors files with an equally warm page cache, in turn, each in a
process of its own whose peak memory is counted above what its imports take. The replies are
links to one file, so that all of them stay in the page cache. Run:

    python benchmarks/aggregation.py --replies 64 --millions 25
    python benchmarks/aggregation.py --replies 64 --millions 25 --ways numpy geometric-median
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fedrad.parameters import Parameters, write_safetensors

CHILD_RUNS = ("numpy", "fedrad", "fedavg", "fedadam")
RULES = ("geometric-median", "centred-clipping", "median", "trimmed-mean")


def tensors(millions: float, rng: np.random.Generator) -> Parameters:
    """Return about that many million float32 values in tensors like those of a network."""
    left, found = int(millions * 1e6), {}
    while left > 0:
        size = min(left, 2_359_296 if len(found) % 2 else 512)  # a 512×512×3×3 filter, a norm
        found[f"layer{len(found):03d}"] = rng.standard_normal(size, np.float32)
        left -= size
    return found


def child(how: str, folder: Path) -> None:
    """Fold once; print seconds and the memory above the start, in bytes."""
    from safetensors.numpy import load_file

    from aggregator.aggregation.mean import weighted_mean
    from aggregator.aggregation.optimisers import server_optimiser
    from fedrad.federation import ServerStrategy
    from fedrad.parameters import read_safetensors

    files = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    weights = dict.fromkeys(files, 1 / len(files))
    base, start = peak_bytes(), time.perf_counter()
    if how == "numpy":
        total: Parameters = {}
        for path in files.values():
            for name, tensor in load_file(path).items():
                if name in total:
                    total[name] += tensor
                else:
                    total[name] = tensor
    elif how in RULES:
        robustly(how, files)
    elif how == "fedrad":
        weighted_mean(files, weights)
    else:
        model = read_safetensors(next(iter(files.values())))
        start = time.perf_counter()
        optimiser = server_optimiser(ServerStrategy(name=how))  # type: ignore[arg-type]
        optimiser.step(model, weighted_mean(files, weights))
    print(json.dumps([time.perf_counter() - start, peak_bytes() - base]))


def robustly(rule: str, files: dict[str, Path]) -> None:
    """Fold as a coordinator does: measure, set aside, clip, then the rule."""
    from aggregator.aggregation import robust
    from fedrad.federation import Rule

    wish = Rule(name=rule)  # type: ignore[arg-type]  # one of its names
    measured = robust.measure(files, wish)
    kept = measured.without(robust.too_large(measured, wish))
    robust.aggregate(kept, dict.fromkeys(kept.files, 1 / len(kept.files)), wish)


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # ru_maxrss is inherited
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(how: str, folder: Path) -> tuple[float, float]:
    """Run a child; return its seconds and bytes."""
    command = [sys.executable, __file__, "--child", how, "--folder", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, size = json.loads(answer.stdout)
    return seconds, size


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=64)
    parser.add_argument("--millions", type=float, default=25.0, help="float32 values a reply")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go; needs the space")
    parser.add_argument("--ways", nargs="*", default=[*CHILD_RUNS], choices=[*CHILD_RUNS, *RULES])
    parser.add_argument("--child", choices=[*CHILD_RUNS, *RULES], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        compare(Path(name), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Write the files and measure both ways in turn."""
    first = folder / "site000.safetensors"
    write_safetensors(first, tensors(options.millions, np.random.default_rng(0)))
    for number in range(1, options.replies):
        os.link(first, folder / f"site{number:03d}.safetensors")
    model_bytes = first.stat().st_size
    first.read_bytes()
    runs: dict[str, list[tuple[float, float]]] = {how: [] for how in options.ways}
    for _ in range(options.repeats):
        for how in options.ways:
            runs[how].append(measure(how, folder))
    print(f"{options.replies} replies of {options.millions} million float32, warm page cache")
    print("| | seconds | ratio to numpy sum | peak memory in models |")
    print("|---|---|---|---|")
    base = statistics.median(seconds for seconds, _ in runs.get("numpy", [(float("nan"), 0.0)]))
    for how, measured in runs.items():
        seconds = statistics.median(run[0] for run in measured)
        memory = max(run[1] for run in measured) / model_bytes
        print(f"| {how} | {seconds:.2f} | {seconds / base:.2f} | {memory:.1f} |")


if __name__ == "__main__":
    main()
