"""Everything that docs/reliability.md claims, in one command, and one summary at its end.

Parts, in this order; each is a program of its own beside this one, its whole output is shown:

- promises: every test that docs/reliability.md names is there
- schedules, defects, kills: ``faults.py``
- attacks, private attacks: ``attacks.py`` without privacy and at epsilon 8
- real: ``real_faults.py``, forty faults on real processes; times count only on a quiet machine

A part holds if its program ends with 0; what attacks cost is a table to be read. Run:

    python benchmarks/reliability.py                   # hours: 5,000 schedules
    python benchmarks/reliability.py --quick           # fewer of everything, about half an hour
    python benchmarks/reliability.py --parts kills real
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FULL: dict[str, tuple[str, ...]] = {
    "schedules": ("faults.py", "--schedules", "5000", "--defects", "0", "--kills", "0"),
    "defects": ("faults.py", "--schedules", "0", "--defects", "500", "--kills", "0"),
    "kills": ("faults.py", "--schedules", "0", "--defects", "0", "--kills", "200"),
    "attacks": ("attacks.py", "--seeds", "5"),
    "private attacks": ("attacks.py", "--seeds", "5", "--epsilon", "8"),
    "real": ("real_faults.py",),
}
QUICK = FULL | {
    "schedules": ("faults.py", "--schedules", "100", "--defects", "0", "--kills", "0"),
    "defects": ("faults.py", "--schedules", "0", "--defects", "60", "--kills", "0"),
    "kills": ("faults.py", "--schedules", "0", "--defects", "0", "--kills", "20"),
    "attacks": ("attacks.py", "--seeds", "1", "--rules", "mean", "geometric-median"),
    "private attacks": (
        "attacks.py", "--seeds", "1", "--epsilon", "8", "--rules", "mean", "geometric-median",
    ),
    "real": ("real_faults.py", "--only", "coordinator's program"),
}  # fmt: skip
PROMISES = "promises"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def missing_tests() -> list[str]:
    """Return the tests that docs/reliability.md names and that are not there."""
    text, found = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), []
    for path, name in sorted(set(_NAMED.findall(text))):
        file = ROOT / path
        if not file.is_file() or (name and f"def {name}(" not in file.read_text(encoding="utf-8")):
            found.append(f"{path}::{name}" if name else path)
    return found


def run(part: str, *, quick: bool) -> tuple[bool, str, float]:
    """Run one part; return whether it held, its last line and its seconds."""
    begun = time.monotonic()
    if part == PROMISES:
        lost = missing_tests()
        said = f"tests that are not there: {', '.join(lost) or 'none'}"
        print(said, flush=True)
        return not lost, said, time.monotonic() - begun
    script, *words = (QUICK if quick else FULL)[part]
    command = [sys.executable, "-u", str(HERE / script), *words]
    print(f"\n== {part}: {' '.join([script, *words])}", flush=True)
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode == 0, last, time.monotonic() - begun


def main() -> None:
    """Print every part's output and the summary; ends with 1 if one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer of everything")
    parts = (PROMISES, *FULL)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    wishes = parser.parse_args()
    found = {part: run(part, quick=wishes.quick) for part in wishes.parts}
    print("\n| part | holds | s | its last line |\n|---|---|---|---|")
    for part, (held, last, seconds) in found.items():
        print(f"| {part} | {'yes' if held else 'NO'} | {seconds:.0f} | {last.replace('|', '/')} |")
    raise SystemExit(0 if all(held for held, _, _ in found.values()) else 1)


if __name__ == "__main__":
    main()
