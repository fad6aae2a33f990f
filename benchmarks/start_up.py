"""What a hospital's program costs before it does anything: imports, and its first step.

Each is measured in a process of its own, in turns: as it is, with the libraries that are imported
only where they are used, and with torch's optimiser class in place of its functions.

python benchmarks/start_up.py [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

MEASURE = """
import resource, time
{before}
begun, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{code}
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
print(time.process_time() - begun, more / 1024)
"""
TENSOR = "import torch\np = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
OURS = "from fedrad.task import Optimiser\nfrom site_client.training.descent import descent\n"
WAYS = {
    "import of the program": ("", "import site_client.app"),
    "the same with MONAI and scipy.stats": (
        "",
        "import site_client.app, monai.data, monai.transforms, scipy.stats",
    ),
    "first step of SGD": (TENSOR + OURS, "descent([p], Optimiser(), rate=0.1)()"),
    "the same by torch.optim.SGD": (TENSOR, "torch.optim.SGD([p], lr=0.1).step()"),
}


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(given.repeats):
        for way, (before, code) in WAYS.items():
            script = MEASURE.format(before=before, code=code)
            said = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            )
            first, second = map(float, said.stdout.split())
            found[way].append((first, second))
    print("| what | processor time, s, median (least to most) | memory, MiB, likewise |")
    print("|---|---|---|")
    for way, rows in found.items():
        cells = (
            _cell(column, digits)
            for column, digits in zip(zip(*rows, strict=True), (2, 0), strict=True)
        )
        print(f"| {way} | {' | '.join(cells)} |")


def _cell(values: tuple[float, ...], digits: int) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


if __name__ == "__main__":
    main()
