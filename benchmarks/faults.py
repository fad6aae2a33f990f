"""The whole fault table: schedules, planted defects, and real kills during real writes.

Three tables. Schedules: so many seeded studies on a virtual clock (simulations/faults), the seven
promises checked after each, and one in ``--quiet-every`` run once more without faults over the
same accepted sets, to compare every model's bits. Defects: after how many schedules each planted
mistake (tests/chaos/defects.py) was seen. Kills: a process that writes checkpoints and ledger
lines is ended with SIGKILL at a random instant; beside it, as a control, one that writes files in
place. Run:

    python benchmarks/faults.py                     # all three; half an hour on a quiet core
    python benchmarks/faults.py --schedules 100 --defects 60 --kills 20
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "chaos"))

from defects import DEFECTS, Defect

from aggregator import checkpoints
from fedrad import durable, parameters
from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, LedgerError
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge
from simulations.faults.events import HUB, Kill, Schedule, draw, text
from simulations.faults.history import read
from simulations.faults.invariants import check
from simulations.faults.play import History, play
from simulations.faults.quiet import comparable, models, play_quietly
from simulations.faults.shrink import shrink
from simulations.faults.study import Studies, prepare
from site_client.journal import FILE, Journal

PLAYED, BROKEN = "schedules", "that broke a promise"
QUIET = "compared with a quiet run"
LONGEST_S = 0.06  # a process is killed after up to so long
TENSORS = {"a": np.arange(250_000, dtype=np.float32), "b": np.ones((300, 300))}


def main() -> None:
    """Print the tables; ends with 1 if a promise was broken or a file torn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=5000)
    parser.add_argument("--first", type=int, default=1, help="the first schedule's seed")
    parser.add_argument("--quiet-every", type=int, default=20)
    parser.add_argument("--defects", type=int, default=500, help="at most so many schedules each")
    parser.add_argument("--kills", type=int, default=200)
    chosen = parser.parse_args()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)  # in the background, too
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}")
    with in_memory() as folder:
        studies = prepare(folder / "homes")
        seeds = range(chosen.first, chosen.first + chosen.schedules)
        broken = print_schedules(seeds, studies, folder, every=chosen.quiet_every)
        missed = print_defects(chosen.defects, studies, folder) if chosen.defects else 0
    torn = print_kills(chosen.kills) if chosen.kills else 0
    raise SystemExit(1 if broken or missed or torn else 0)


@contextmanager
def in_memory() -> Iterator[Path]:
    """Give a folder in memory, where the machine has one."""
    shared = Path("/dev/shm")  # noqa: S108  # a private folder is made in it
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def print_schedules(seeds: range, studies: Studies, folder: Path, *, every: int) -> int:
    """Play the schedules and print what happened in them; return how many broke a promise.

    Ctrl-C, or SIGTERM, ends the table early: it then says how many schedules it is of.
    """
    seen: Counter[str] = Counter()
    began, cpu = time.monotonic(), time.process_time()
    try:
        for count, seed in enumerate(seeds, 1):
            seen.update(lines_of(draw(seed), studies, folder, quietly=count % every == 0))
            if count % 250 == 0:
                print(f"# {count}: {seen[BROKEN]} broke a promise", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("# ended early", file=sys.stderr)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    print("\n## Schedules\n\n| what | count |\n|---|---|")
    for what in (PLAYED, BROKEN, QUIET, *sorted(seen.keys() - {PLAYED, BROKEN, QUIET})):
        print(f"| {what} | {seen[what]} |")
    print(f"\n{seen[PLAYED] / wall:.1f} schedules a second, {seen[PLAYED] / cpu:.1f} of CPU time")
    return seen[BROKEN]


def lines_of(
    schedule: Schedule, studies: Studies, folder: Path, *, quietly: bool
) -> tuple[str, ...]:
    """Play one schedule and return a line for everything that is counted of it."""
    with played(schedule, studies, folder) as history:
        problems = check(history)
        lines = [PLAYED, *told(history)]
        if quietly and comparable(left := read(history)):
            lines.append(QUIET)
            if play_quietly(left, history.folder / "quiet") != models(left):
                problems = (*problems, "I6: a quiet run of the same sets has other models")
    if problems:
        lines.append(BROKEN)
        print_failure(schedule, studies, folder, problems=problems)
    return tuple(lines)


@contextmanager
def played(schedule: Schedule, studies: Studies, folder: Path) -> Iterator[History]:
    """Play a schedule in a folder that is removed afterwards."""
    own = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield play(schedule, studies, own / "played")
    finally:
        shutil.rmtree(own)


def told(history: History) -> Iterator[str]:
    """Yield a line for everything that happened in a schedule."""
    last = history.lives[-1]
    why = "spare rounds used up" if "spare rounds" in last else last.partition(":")[2][:60].strip()
    yield "ended: done" if last == "done" else f"ended: stopped, {why}"
    for life in history.lives[:-1]:
        yield f"coordinator started again after it was {life.partition(':')[0]}"
    for fault, where in history.fired:
        who = "coordinator" if fault.who == HUB else "site"
        what = (
            "disk full" if not isinstance(fault, Kill) else "power cut" if fault.power else "kill"
        )
        yield f"{what} of a {who} at a {where.replace('begins', 'beginning')}"
    for event in history.done:
        yield f"{type(event).__name__.lower()} {getattr(event, 'what', '')}".strip()
    left = read(history)
    for kind in ("void", "lost", "checkpoint-damaged", "checkpoint-mended", "reply-refused"):
        yield from (f"round or reply {kind}" for _ in left.kinds(kind))


def print_failure(
    schedule: Schedule, studies: Studies, folder: Path, *, problems: tuple[str, ...]
) -> None:
    """Print a failing schedule as small as it gets, ready to be pasted into a test."""

    def fails(tried: Schedule) -> bool:
        with played(tried, studies, folder) as history:
            return bool(check(history))

    small = shrink(schedule, fails) if fails(schedule) else schedule
    print("\n".join([*problems, text(small)]), flush=True)


def print_defects(most: int, studies: Studies, folder: Path) -> int:
    """Print after how many schedules each defect was seen; return how many were not."""
    print("\n## Planted defects\n\n| defect | seen after | by |\n|---|---|---|", flush=True)
    missed = 0
    for defect in DEFECTS:
        count, said = first_seen(defect, most, studies, folder)
        missed += not said
        by = ", ".join(sorted({problem.partition(":")[0] for problem in said}))
        print(f"| {defect.name} | {count if said else f'not in {most}'} | {by} |", flush=True)
    return missed


def first_seen(
    defect: Defect, most: int, studies: Studies, folder: Path
) -> tuple[int, tuple[str, ...]]:
    """Return after how many schedules a defect was seen, and what was said."""
    for seed in range(1, most + 1):
        with defect.planted():
            own = played(draw(seed), studies, folder)
            history = own.__enter__()
        problems = check(history)
        own.__exit__(None, None, None)
        if problems:
            return seed, problems
    return most, ()


def print_kills(times: int) -> int:
    """Kill writers and count what they left torn; return that of the real ones."""
    print("\n## Kills during writes (SIGKILL)\n\n| writer | kills | torn |\n|---|---|---|")
    rng, found = np.random.default_rng(1), {}
    for name, (write, torn) in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = sum(killed(write, torn, Path(folder), rng) for _ in range(times))
        print(f"| {name} | {times} | {found[name]} |", flush=True)
    return found["checkpoints"] + found["ledger lines"]


def killed(
    write: Callable[[Path], None],
    torn: Callable[[Path], int],
    folder: Path,
    rng: np.random.Generator,
) -> int:
    """Let a process write until it is killed; return how many files are torn."""
    child = os.fork()
    if child == 0:
        try:
            write(folder)
        finally:
            os._exit(1)
    time.sleep(rng.uniform(0.0, LONGEST_S))
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        raise SystemExit("a writer ended by itself; nothing was tested")
    return torn(folder)


def write_checkpoints(folder: Path) -> None:
    """Write the same three rounds again and again."""
    while True:
        for number in (1, 2, 3):
            checkpoints.write_reply(folder, number, "east", update=TENSORS)
            state = checkpoints.RoundState(
                round=number, committed=number, model_digest="", accepted={"east": ""}
            )
            checkpoints.write_round(folder, state, TENSORS, moments=TENSORS)


def torn_checkpoints(folder: Path) -> int:
    """Count files of rounds that cannot be read, or differ from what was ever written."""
    wanted = parameters.digest(TENSORS)
    return sum(unreadable(path, wanted) for path in folder.glob("rounds/**/*.safetensors"))


def unreadable(path: Path, wanted: str) -> bool:
    """Whether a file under its final name is not whole."""
    if path.name.startswith("."):
        return False  # never got its name
    try:
        return parameters.digest(parameters.read_safetensors(path)) != wanted
    except DamagedStateError:
        return True


def write_in_place(folder: Path) -> None:
    """Write the same files without temporary name, sync and rename: the control."""
    path = folder / "rounds" / "0001" / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = save(TENSORS, metadata={"order": "\x1f".join(TENSORS)})
    while True:
        path.write_bytes(content)


def write_ledger(folder: Path) -> None:
    """Reserve and commit as fast as it goes."""
    journal = Journal(folder, SystemClock())
    event = Event(mechanism="subsampled-gaussian", sigma=1.0, q=0.1, steps=2)
    count = len(journal.lines())
    while True:
        count += 1
        name = durable.canonical_json(count).hex().rjust(64, "0")
        charge = Charge(
            reservation=name, stream="train", task_hash="f" * 64, event=event, patients_agreed=100
        )
        journal.reserve(charge)
        journal.commit(name, steps=2)


def torn_ledger(folder: Path) -> int:
    """Open the ledger as the next start does; a line that is lost or torn counts."""
    before = (folder / FILE).read_bytes() if (folder / FILE).exists() else b""
    try:
        lines = Journal(folder, SystemClock()).lines()
    except LedgerError:
        return 1
    return int(len(lines) < before.count(b"\n"))


WRITERS = {
    "checkpoints": (write_checkpoints, torn_checkpoints),
    "ledger lines": (write_ledger, torn_ledger),
    "control: files written in place": (write_in_place, torn_checkpoints),
}


if __name__ == "__main__":
    main()
