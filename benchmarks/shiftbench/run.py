"""Measure shift detection on phantoms and print the tables of docs/results.md.

``python benchmarks/shiftbench/run.py --minutes 10``: one process a core, one site and draw at a
time, until all draws are made or the time is over. A draw is the same whoever makes it and when.
Banks of described phantoms are made first and kept in ``--folder``, outside the time. ``--out``
keeps every draw as a line, and a later call with the same file makes the rest; a file that was
begun with other code or another seed is refused. Constants were chosen on other hospitals
(``bank.HOSPITALS``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

from bank import HOSPITALS, SCORED, bank, conditions
from draws import SEASONAL, SHIFTED
from goals import verdicts
from paths import delays, must_not_alarm
from rates import tables
from sites import several_sites
from trials import Setting, Tally, false_alarms, power

import fedrad.shift

PATIENTS = 12_800  # of a bank: a reference and a path of 50 windows
SEED = 72
EPSILONS = (4.0, 2.0)
PARTS = {
    "power": power,
    "null": false_alarms,
    "delay": delays,
    "quiet": must_not_alarm,
    "sites": several_sites,
}
DRAWS = {"power": 45, "null": 134, "delay": 45, "quiet": 45, "sites": 45}  # a site
TOGETHER = "sites"  # the part whose draws are of all sites at once

Kept = dict[str, dict[str, dict[str, list[float]]]]
Unit = tuple[Setting, str, int]
Made = tuple[Unit, dict[str, dict[str, list[float]]], float]


def main() -> None:
    """Measure until all is done or the time is over, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shiftbench")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--sites", nargs="+", default=SCORED)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--draws", type=float, default=1.0, help="share of the draws of each part")
    given = parser.parse_args()
    sites = tuple(given.sites)
    setting = Setting(folder=given.folder, patients=PATIENTS, seed=given.seed, sites=sites)
    out = given.out or given.folder / f"draws-{os.getpid()}.jsonl"
    todo = missing(setting, given.parts, share=given.draws, out=out)
    with Pool(given.processes) as pool:
        pool.map(_made, list(banks(setting)), chunksize=1)
    with Pool(given.processes) as pool:
        taken = measure(pool.imap_unordered(measured, todo), minutes=given.minutes, out=out)
        pool.close()
    print(f"{given.processes} processes, {len(todo)} draws asked for: {taken}\n")
    kept = read_out(out)
    print(tables(kept), verdicts(kept), sep="\n\n")


def banks(setting: Setting) -> Iterator[tuple[str, str, int, Path]]:
    """Yield every bank that the parts draw from."""
    for site in setting.sites:
        yield site, "", setting.patients, setting.folder
        for name in conditions(HOSPITALS[site]):
            patients = SEASONAL if name in ("brighter", "darker") else SHIFTED
            yield site, name, patients, setting.folder


def missing(setting: Setting, parts: Sequence[str], *, share: float, out: Path) -> list[Unit]:
    """Return the draws that the file does not hold yet; begin it where there is none.

    Raises:
        SystemExit: The file was begun with other code, another seed or other sites.
    """
    begun = {"seed": setting.seed, "sites": list(setting.sites), "code": code()}
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(begun) + "\n")
    first, *lines = _lines(out)
    if first != begun:
        raise SystemExit(f"{out} was begun with {first}, not {begun}; give another --out")
    done = {(line["part"], line["site"], line["draw"]) for line in lines}
    units = [
        (replace(setting, sites=sites), part, draw)
        for draw in range(max(DRAWS.values()))
        for part in parts
        for sites in ([setting.sites] if part == TOGETHER else [(s,) for s in setting.sites])
        if draw < share * DRAWS[part]
    ]
    return [unit for unit in units if (unit[1], " ".join(unit[0].sites), unit[2]) not in done]


def measured(unit: Unit) -> Made:
    """Make one draw of one part; return its trials and the seconds of processor they took."""
    setting, part, draw = unit
    start = time.process_time()
    tally: Tally = PARTS[part](setting, range(draw, draw + 1), EPSILONS)
    return unit, tally.values, time.process_time() - start


def measure(found: Iterator[Made], *, minutes: float, out: Path) -> str:
    """Keep draws as they come until there are no more or the time is over; say what they took."""
    start, worked = time.monotonic(), 0.0
    with out.open("a") as file:
        for (setting, part, draw), values, seconds in found:
            worked += seconds
            line = {"part": part, "site": " ".join(setting.sites), "draw": draw, "values": values}
            file.write(json.dumps(line) + "\n")
            file.flush()
            if time.monotonic() - start > 60 * minutes:
                break
    return f"{time.monotonic() - start:.0f} s by the clock, {worked:.0f} s of processors"


def read_out(out: Path) -> Kept:
    """Return every trial of a file, in the order of draws whatever the order of lines."""
    kept: Kept = {}
    lines = _lines(out)[1:]
    for line in sorted(lines, key=lambda line: (line["part"], line["draw"], line["site"])):
        for name, clusters in line["values"].items():
            kept.setdefault(line["part"], {}).setdefault(name, {}).update(clusters)
    return kept


def code() -> str:
    """Return a digest of the code that decides what is measured."""
    here = [*Path(__file__).parent.glob("*.py"), *Path(fedrad.shift.__path__[0]).glob("*.py")]
    leave = {
        "rates.py",
        "goals.py",
        "run.py",
        "kinds.py",
        "fit_kinds.py",
        "gates.py",
        "radiographs.py",
    }
    texts = [path.read_bytes() for path in sorted(here) if path.name not in leave]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def _lines(out: Path) -> list[dict[str, object]]:
    """Return the whole lines of a file; one that was cut off by the end of a call is not."""
    text = out.read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _made(which: tuple[str, str, int, Path]) -> None:
    site, condition, patients, folder = which
    bank(site, condition, patients=patients, folder=folder)


if __name__ == "__main__":
    main()
