"""The seven promises, checked on what a run left: I1 to I7 of docs/reliability.md.

Nothing here knows how a schedule was played; the events of the schedule matter only where
they excuse something, such as a checkpoint that the schedule itself damaged. Each violation
is a sentence that begins with the promise it breaks.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from aggregator import checkpoints
from aggregator.accepted import paths
from aggregator.course import Course
from fedrad import parameters as tensors
from fedrad.errors import DamagedStateError, LedgerError
from fedrad.privacy.ledger import verify
from fedrad.protocol.messages import Request, reply_id
from simulations.faults.events import HUB, Damage, Full
from simulations.faults.history import CHANGING, LATE, Left, charged, files, read
from simulations.faults.play import MOST_LIVES, History
from simulations.faults.study import CANARY
from site_client.home import LEDGER

_OPEN = ("asked", "received", "folded")
_HUB_FILES = {"model", "state", "manifest", "reply"}


def check(history: History) -> tuple[str, ...]:
    """Return every broken promise; none is good."""
    left = read(history)
    return tuple(problem for promise in PROMISES for problem in promise(left))


def charged_enough(left: Left) -> Iterator[str]:
    """I1: what ledgers say was spent is at least what patients met, at every moment."""
    history = left.history
    for home in sorted({met.home for met in history.truth.met}):
        met = [one for one in history.truth.met if one.home == home]
        for earlier, later in pairwise(met):
            if not set(earlier.ledger) <= set(later.ledger):
                yield f"I1: {home} met patients on a ledger that had forgotten lines"
        lines = left.ledger(home)
        for reply in dict.fromkeys(one.reply_id for one in met):
            used = sum(one.steps for one in met if one.reply_id == reply)
            paid = sum(line.steps for line in charged(lines, reply))
            if paid < used:
                yield f"I1: {home} took {used} steps and charged {paid} for {reply[:8]}"
        yield from _bad_chain(left, home)
    for row in left.tables["replies"]:
        reply = str(row["reply_id"]).partition("#")[0]
        if row["outcome"] == "done" and reply not in left.told(row["site"]):
            yield f"I1: {row['site']} was accepted in round {row['round']} and told no cost"


def _bad_chain(left: Left, home: str) -> Iterator[str]:
    if left.history.homes / home / LEDGER in left.history.damaged:
        return
    try:
        verify(left.ledger(home))
    except LedgerError as error:
        yield f"I1: the ledger of {home} does not verify: {error}"


def model_is_of_the_accepted(left: Left) -> Iterator[str]:
    """I2 and I6: every model is, bit for bit, what its accepted set makes of the one before."""
    with tempfile.TemporaryDirectory(dir=left.history.folder) as scratch:
        course = Course(left.history.plan.setup(Path(scratch)))
        for row in left.changing:
            number, late = int(row["round"]), left.carried(row["round"])
            _stand(course, left.parents.get(number, 0))
            every = left.accepted(number) | late
            if row["accepted_digest"] != checkpoints.accepted_digest(every.items()):
                yield f"I2: round {number} does not say which updates it was made of"
            if not _laid_out(left, Path(scratch), number, every):
                yield f"I2: round {number} accepted an update that nobody made"
                return
            shares = course.fold(number, course.measure(number, every, late=late))
            course.write(number, every)
            if course.digest != row["model_digest"]:
                yield f"I6: the model of round {number} is not the one a quiet run has"
            yield from _wrong_shares(left, number, shares)
            yield from _wrong_files(left, number, every, model=course.digest)


def _stand(course: Course, number: int) -> None:
    """Stand on the model of a round that was folded before; 0 is the first model."""
    if number == 0:
        course.restart()
    elif number != course.changed:
        course.restore(number)


def _laid_out(left: Left, folder: Path, number: int, every: dict[str, str]) -> bool:
    made = left.history.truth.updates
    files = paths(folder, number, every, late=left.carried(number))
    for site, path in files.items():
        digest = every[site]
        if digest not in made:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors.write_safetensors(path, made[digest][2])
    return True


def _wrong_shares(left: Left, number: int, shares: dict[str, float]) -> Iterator[str]:
    said = {
        row["site"]: row["weight"]
        for row in left.tables["replies"]
        if row["round"] == number and row["phase"] in ("train", LATE) and row["weight"]
    }
    if said != shares:
        yield f"I2: the shares of round {number} are not those of the contract"


def _wrong_files(left: Left, number: int, every: dict[str, str], *, model: str) -> Iterator[str]:
    run, damaged = left.history.run, left.history.damaged
    files = paths(run, number, every, late=left.carried(number))
    wanted = {path: every[site] for site, path in files.items()}
    wanted[checkpoints.model_path(run, number)] = model
    for path, digest in wanted.items():
        if path not in damaged and _digest_of(path) != digest:
            yield f"I2: {path.relative_to(run)} is not what the database says"


def _digest_of(path: Path) -> str:
    try:
        return tensors.digest(tensors.read_safetensors(path))
    except DamagedStateError:
        return ""


def counted_once(left: Left) -> Iterator[str]:
    """I3: a site counts at most once in a round, with an update of that round and its own."""
    rows = left.tables["replies"]
    for key, times in Counter((r["round"], r["phase"], r["site"]) for r in rows).items():
        if times > 1:
            yield f"I3: {key[2]} has {times} replies in round {key[0]}, {key[1]}"
    yield from _asked_again(left)
    done = [row for row in rows if row["outcome"] == "done"]
    for row in (row for row in done if row["phase"] in ("train", LATE)):
        site, number, _ = left.history.truth.updates.get(row["update_digest"], ("nobody", 0, {}))
        of_it = number == row["round"] if row["phase"] == "train" else number < row["round"]
        if site != row["site"] or not of_it:
            yield f"I3: {row['site']} counts in round {row['round']} with {site}'s of {number}"
    used = Counter(row["update_digest"] for row in done if row["update_digest"])
    yield from (f"I3: an update counts {times} times" for times in used.values() if times > 1)
    commits = Counter(event["round"] for event in left.kinds("committed"))
    for number, times in commits.items():
        if times > 1:
            yield f"I3: round {number} was committed {times} times"


def _asked_again(left: Left) -> Iterator[str]:
    """Yield who was asked again although an answer stood that nobody had damaged."""
    done = Counter(
        (event["round"], event["site"], event["detail"]["phase"])
        for event in left.kinds("reply")
        if event["detail"]["outcome"] == "done"
    )
    run, damaged = left.history.run, left.history.damaged
    for (number, site, phase), times in done.items():
        if times > 1 and checkpoints.reply_path(run, number, site) not in damaged:
            yield f"I3: {site} was accepted {times} times in round {number}, {phase}"


def trained_once(left: Left) -> Iterator[str]:
    """I3: no site meets patients twice for one answer, unless it died or its disk failed."""
    history = left.history
    met = Counter((one.home, one.reply_id) for one in history.truth.met)
    troubled = {fault.who for fault, _ in history.fired}
    troubled |= {event.site for event in history.done if isinstance(event, Damage)}
    for (home, reply), times in met.items():
        if times > 1 and home not in troubled:
            yield f"I3: {home} met patients {times} times for {reply[:8]} and never died"


def finite(left: Left) -> Iterator[str]:
    """I4: no saved model or moment holds a value that is not finite."""
    for path in (left.history.run / "rounds").glob("*/*.safetensors"):
        if path not in left.history.damaged and not _is_finite(path):
            yield f"I4: {path.parent.name}/{path.name} holds a value that is not finite"


def _is_finite(path: Path) -> bool:
    try:
        held = tensors.read_safetensors(path)
    except DamagedStateError:
        return True  # no value at all: I2 says so
    return all(np.isfinite(tensor).all() for tensor in held.values())


def ends(left: Left) -> Iterator[str]:
    """I5: the run ends, or stops and says why; nothing was lost that nobody damaged."""
    history, task = left.history, left.history.plan.task
    last = history.lives[-1]
    for life in history.lives:
        if life == "hung" or life.startswith("crashed"):
            yield f"I5: the coordinator {life}"
    if len(history.lives) >= MOST_LIVES and last != "done":
        yield "I5: the coordinator was started again and again"
    full = any(isinstance(fault, Full) and fault.who == HUB for fault, _ in history.fired)
    status = {row["status"]: row["reason"] for row in left.tables["runs"]}
    if last == "done" and "done" not in status and not full:
        yield f"I5: a run that ended says {sorted(status)}"
    if last.startswith("stopped") and not full and not status.get("stopped"):
        yield f"I5: a run that stopped says {sorted(status)} and no reason"
    if last == "done":
        open_ = [row["round"] for row in left.tables["rounds"] if row["state"] in _OPEN]
        if open_ or len(left.changing) != task.federation.rounds:
            yield f"I5: {len(left.changing)} rounds changed the model, open are {open_}"
    yield from _lost(left)


def _lost(left: Left) -> Iterator[str]:
    done = [event for event in left.history.done if isinstance(event, Damage)]
    if not any(damage.what in _HUB_FILES for damage in done):
        for kind in ("lost", "checkpoint-damaged", "checkpoint-mended"):
            for event in left.kinds(kind):
                yield f"I5: round {event['round']} is {kind} and nobody damaged a file"


def asked_the_right_model(left: Left) -> Iterator[str]:
    """I2: every round asked about the model that the round before it left."""
    plan, models = left.history.plan, {0: tensors.digest(_first(left))}
    states = {int(row["round"]): row for row in left.tables["rounds"]}
    for number in sorted(states):
        model = models.get(left.parents.get(number, 0), "")
        for row in left.tables["replies"]:
            if (row["round"], row["phase"]) == (number, "train") and row["outcome"] == "done":
                asked = Request(
                    study=plan.contract.study,
                    task_hash=plan.contract.task_hash,
                    round=number,
                    phase="train",
                    model_digest=model,
                    deadline_s=0.0,
                )
                if row["reply_id"] != reply_id(asked, row["site"]) and not _was_lost(left, number):
                    yield f"I2: {row['site']} trained another model in round {number}"
        if states[number]["state"] in CHANGING:
            models[number] = states[number]["model_digest"]


def _was_lost(left: Left, number: int) -> bool:
    return any(event["round"] <= number for event in left.kinds("lost"))


def _first(left: Left) -> tensors.Parameters:
    return left.history.plan.setup(left.history.run).initial()


def nobody_named(left: Left) -> Iterator[str]:
    """I7: what was planted at a site is in no message and in no file of the coordinator."""
    for site in left.history.leaks:
        yield f"I7: a message of {site} names a patient"
    planted = CANARY.encode()
    for path in files(left.history.run):
        if planted in path.read_bytes():
            yield f"I7: {path.name} names a patient"


PROMISES: tuple[Callable[[Left], Iterator[str]], ...] = (
    charged_enough,
    model_is_of_the_accepted,
    asked_the_right_model,
    counted_once,
    trained_once,
    finite,
    ends,
    nobody_named,
)
