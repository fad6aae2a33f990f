"""How long each command's --help takes, from the shell's call to its end; the slowest are printed.

python benchmarks/help_times.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("fedrad-sim", "fedrad-site", "fedrad-aggregator")
TIMES, SHOWN = 3, 8


def commands(program: str) -> list[str]:
    """Return the names of a program's commands, as its help lists them."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    listed = text.partition("Commands:")[2].splitlines()
    return [line.split()[0] for line in listed if line.startswith("  ") and line[2:3].strip()]


def times_s(words: list[str]) -> list[float]:
    """Return how long each of some calls took, sorted."""
    found = []
    for _ in range(TIMES):
        begun_s = time.perf_counter()
        subprocess.run([*words, "--help"], capture_output=True, check=True)
        found.append(time.perf_counter() - begun_s)
    return sorted(found)


def main() -> None:
    """Measure and print."""
    programs = [str(Path(sys.prefix, "bin", name)) for name in PROGRAMS]
    calls = [[one, *more] for one in programs for more in ([], *([c] for c in commands(one)))]
    found = sorted(((times_s(words), words) for words in calls), reverse=True)
    print(f"{len(found)} commands, {TIMES} calls each; fastest, median, slowest in s")
    for each, words in found[:SHOWN]:
        name = " ".join([Path(words[0]).name, *words[1:]])
        print(f"{name:36}" + "".join(f"{one:7.2f}" for one in (each[0], each[1], each[-1])))


if __name__ == "__main__":
    main()
