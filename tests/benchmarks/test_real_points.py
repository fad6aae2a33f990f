"""Programs of the real faults are reached from outside, at the point that was named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

POINTS = Path(__file__).resolve().parents[2] / "benchmarks" / "real_points"
WRITES = """
import os, pathlib, sys
from fedrad.clock import SystemClock
for name in ("state.json", "manifest.json"):
    path = pathlib.Path(sys.argv[2], name)
    with path.open("wb") as file:
        file.write(b"x")
        try:
            os.fsync(file.fileno())
        except OSError as error:
            print(error.errno)
    os.replace(path, path.with_suffix(".named"))
print(SystemClock().now().year)
"""


def run(folder: Path, **order: object) -> subprocess.CompletedProcess[str]:
    """Run a program that an order is for, as long as it lives."""
    (folder / "orders").mkdir()
    text = json.dumps({"program": ["aggregator"]} | order)
    (folder / "orders" / "one.json").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(POINTS), "REAL_FAULTS": str(folder / "orders")}
    line = [sys.executable, "-c", WRITES, "aggregator", str(folder)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_program_ends_at_the_named_rename_and_not_before(tmp_path: Path) -> None:
    ended = run(tmp_path, fault="kill", point="rename", path="manifest.named")
    assert ended.returncode == -signal.SIGKILL
    assert names(tmp_path) == {"state.named", "manifest.json"}
    assert (tmp_path / "orders" / "one.fired").exists()


def test_the_second_point_of_a_kind_can_be_meant(tmp_path: Path) -> None:
    run(tmp_path, fault="kill", point="sync", path="", nth=2)
    assert names(tmp_path) == {"state.named", "manifest.json"}


def test_a_disk_is_full_where_it_is_told_to_be(tmp_path: Path) -> None:
    ended = run(tmp_path, fault="full", point="sync", path="manifest.json")
    assert ended.stdout.split()[0] == "28"
    assert names(tmp_path) == {"state.named", "manifest.named"}


def test_a_wall_clock_is_wrong_by_what_is_said(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    year = run(right, fault="clock", skew_s=0.0).stdout
    assert int(run(wrong, fault="clock", skew_s=-3e8).stdout) < int(year)


def test_another_program_is_left_alone(tmp_path: Path) -> None:
    assert run(tmp_path, program=["nobody"], fault="kill", point="sync", path="").returncode == 0
