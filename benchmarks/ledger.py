"""What a charge costs at a site whose ledger is long: guard, reserve and commit.

Each row is a process of its own over a fresh ledger of that many lines: reading and
verifying it, the first decision at this noise and rate (composed there and then), and the
rounds after it. "guard" decides on the task's own epsilon, the task's limit and the site's;
"reserve" and "commit" are synced to the folder's disk. The fsync row is that disk alone:
append and sync as many bytes as a line has. Run:

    python benchmarks/ledger.py --lines 1000
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
from collections.abc import Callable
from pathlib import Path

from fedrad.clock import SystemClock
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Chain, Charge, encode
from fedrad.task import Task, parse_task
from site_client import guard
from site_client.journal import FILE, Journal
from site_client.settings import Archive, Identity, PrivacyLimits, SiteSettings

TIGHT = "one contract, longer than the limit allows"
CASES = {"one contract": 1, TIGHT: 1, "three contracts": 3}  # how many kinds of charges
PARTS = ("guard", "reserve", "commit")
KINDS = ((3.0, 0.5), (6.0, 0.5), (4.0, 0.25))  # noise multiplier, rate
STEPS, DELTA = 1, 1e-5
COLUMNS = ("open", "first", "guard", "reserve", "commit", "all three", "worst")


def a_task(rounds: int) -> Task:
    """Return a task of that many rounds whose epsilon is never the limit."""
    return parse_task(
        {
            "schema": 1,
            "task": {
                "name": "bench", "kind": "classification", "classes": ["no", "yes"],
                "positive": "yes",
            },
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [16, 16], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
            "model": {"name": "filter_bank_cnn"},
            "training": {"steps": STEPS, "expected_batch_patients": 100.0},
            "federation": {"rounds": rounds},
            "privacy": {"enabled": True, "epsilon": 300.0, "delta": DELTA},
            "evaluation": {
                "metrics": ["auroc"], "edges": [0.0, 0.5, 1.0], "every_rounds": rounds,
            },
            "analysis": {"primary": "auroc"},
        }
    )  # fmt: skip


def a_site(case: str) -> SiteSettings:
    """Return a site whose limits for the task and in total both have to be decided on."""
    limit = 30.0 if case == TIGHT else 300.0  # 540 rounds cost 24, 1,600 cost 51
    return SiteSettings(
        site=Identity(name="bench"),
        archive=Archive(kind="folder", path=Path("archive")),
        privacy=PrivacyLimits(
            epsilon_limit=limit, delta_limit=DELTA, per_task={"bench": limit}, min_patients=10,
            max_rounds=10**6, max_steps=STEPS,
        ),
    )  # fmt: skip


def a_charge(number: int, kind: int) -> Charge:
    """Return round ``number`` of contract ``kind``."""
    sigma, q = KINDS[kind]
    event = Event(mechanism="subsampled-gaussian", sigma=sigma, q=q, steps=STEPS)
    return Charge(
        reservation=f"{number:064x}", stream="train", task_hash=f"{kind:064x}", event=event,
        patients_agreed=200,
    )  # fmt: skip


def write_ledger(path: Path, lines: int, *, kinds: int) -> None:
    """Write reservations and commits of equally many rounds of each contract."""
    chain, now = Chain(), "2026-11-21T00:00:00.000Z"
    for number in range(lines // 2):
        charge = a_charge(number, number * 2 * kinds // max(lines, 1))
        reserve = chain.charge_line("reserve", charge, time=now)
        chain.append(reserve)
        chain.append(chain.commit_line(reserve, steps=STEPS, time=now))
    path.write_bytes(b"".join(encode(line) + b"\n" for line in chain.lines))


def timed(work: Callable[[], object]) -> float:
    """Return how many milliseconds ``work`` took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def child(home: Path, case: str, repeats: int) -> None:
    """Measure one ledger; print milliseconds as one JSON object."""
    import dp_accounting.pld.privacy_loss_distribution
    import dp_accounting.rdp  # noqa: F401  # a site imports them once, before its first round

    journal = Journal(home, SystemClock())
    found: dict[str, object] = {"open": timed(journal.lines)}
    rounds = len(journal.lines()) // 2
    planned = (rounds + repeats + 1) * (3 if case == TIGHT else 1)
    asks = [ask(case, rounds + number, planned) for number in range(repeats + 1)]
    took = [charge_one(journal, a_site(case), one) for one in asks]
    print(json.dumps(found | dict(zip(PARTS, zip(*took, strict=True), strict=True))))


def ask(case: str, number: int, planned: int) -> guard.Ask:
    """Return the request of round ``number`` in a case."""
    kinds = CASES[case]
    plans = {f"{kind:064x}": {"train": planned} for kind in range(kinds)}
    charge = a_charge(number, kinds - 1)
    return guard.Ask(task=a_task(planned), charge=charge, simulated=False, charged=plans)


def charge_one(journal: Journal, settings: SiteSettings, one: guard.Ask) -> tuple[float, ...]:
    """Decide, reserve and commit one round; return the milliseconds of each."""
    with journal.exclusive():
        decided = timed(lambda: guard.check_round(settings, one, journal.lines()))
        reserved = timed(lambda: journal.reserve(one.charge))
    committed = timed(lambda: journal.commit(one.charge.reservation, steps=STEPS))
    return decided, reserved, committed


def measure(lines: int, case: str, repeats: int) -> dict[str, float]:
    """Run a child on a fresh ledger; return milliseconds by column."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        write_ledger(Path(name) / FILE, lines, kinds=CASES[case])
        command = [sys.executable, __file__, "--child", name, "--case", case]
        command += ["--repeats", str(repeats)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    kept = json.loads(answer.stdout)
    warm = [kept[part][1:] for part in PARTS]  # the first round composes
    sums = [sum(one) for one in zip(*warm, strict=True)]
    medians = [statistics.median(part) for part in (*warm, sums)]
    row = [kept["open"], kept["guard"][0], *medians, max(sums)]
    return dict(zip(COLUMNS, row, strict=True))


def fsync_ms(repeats: int) -> float:
    """Return the median milliseconds of appending and syncing one line's bytes here."""
    with tempfile.NamedTemporaryFile(dir=".", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 600)
            os.fsync(file.fileno())

        return statistics.median(timed(append) for _ in range(repeats))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=40, help="rounds that are measured")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.case, options.repeats)
        return
    print(f"milliseconds; {options.lines} lines before; one write and fsync here: "
          f"{fsync_ms(options.repeats):.1f}")  # fmt: skip
    print("| | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    for case in CASES:
        row = measure(options.lines, case, options.repeats)
        print(f"| {case} | " + " | ".join(f"{row[name]:.1f}" for name in COLUMNS) + " |")


if __name__ == "__main__":
    main()
