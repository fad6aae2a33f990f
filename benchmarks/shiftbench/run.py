"""Measure shift detection on phantoms and print the tables of docs/results.md.

``python benchmarks/shiftbench/run.py --minutes 20``: rounds of draws until the time is over;
draw d is the same whatever the time. Banks of described phantoms are made first and kept in
``--folder``, outside the time. ``--out`` keeps every trial, and a later call with the same file
goes on with the next draws. Constants were chosen on other hospitals (``bank.HOSPITALS``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from bank import HOSPITALS, SCORED, bank, conditions
from draws import SHIFTED
from rates import tables
from trials import Setting, Tally, delays, false_alarms, must_not_alarm, power

PATIENTS = 12_800  # of a bank: a reference and a path of 50 windows
SEED = 71
EPSILONS = (4.0, 2.0)
ROUND = 4  # draws a site in a round
PARTS = {
    "power": power,
    "null": false_alarms,
    "delay": delays,
    "quiet": must_not_alarm,
}
MOST = {"power": 70, "null": 200, "delay": 24, "quiet": 24}  # draws a site

Kept = dict[str, dict[str, dict[str, list[float]]]]


def main() -> None:
    """Measure until the time is over, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shiftbench")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sites", nargs="+", default=SCORED)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    given = parser.parse_args()
    setting = Setting(folder=given.folder, patients=PATIENTS, seed=SEED, sites=tuple(given.sites))
    prepare(setting)
    kept = measured(setting, given.parts, minutes=given.minutes, out=given.out)
    print(tables(kept))


def prepare(setting: Setting) -> None:
    """Make the banks that are not in the folder yet."""
    for site in setting.sites:
        bank(site, "", patients=setting.patients, folder=setting.folder)
        for name in conditions(HOSPITALS[site]):
            bank(site, name, patients=SHIFTED, folder=setting.folder)


def measured(setting: Setting, parts: list[str], *, minutes: float, out: Path | None) -> Kept:
    """Return every trial of the parts, those in ``out`` included."""
    kept: Kept = json.loads(out.read_text()) if out and out.exists() else {}
    until, first = (
        time.monotonic() + 60 * minutes,
        int(kept.get("draws", {}).get("done", {}).get("", [0])[0]),
    )
    for start in range(first, max(MOST.values()), ROUND):
        for part in parts:
            draws = range(start, min(start + ROUND, MOST[part]))
            if draws and time.monotonic() < until:
                _merge(kept.setdefault(part, {}), PARTS[part](setting, draws, EPSILONS))
        if time.monotonic() >= until:
            break
        kept["draws"] = {"done": {"": [start + ROUND]}}
        if out:
            out.write_text(json.dumps(kept))
    return kept


def _merge(kept: dict[str, dict[str, list[float]]], tally: Tally) -> None:
    for name, clusters in tally.values.items():
        kept.setdefault(name, {}).update(clusters)


if __name__ == "__main__":
    main()
