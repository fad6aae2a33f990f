"""Where a run stands that was cut: read from its database and its folder.

The database says how far each round came; the folder holds what the round is made of. A
round that was open goes on with the replies that were accepted, as far as their files are
still what they were. A checkpoint that is damaged is made again of the one before it and
the accepted updates; where that is impossible its round and the later ones are lost, loudly:
they become void, what they cost stays spent, and the rounds that follow have new numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregator import checkpoints
from aggregator.accepted import LATE, carried, fresh, readable
from aggregator.course import Course
from aggregator.lineage import OPEN, read_lineage
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Answer
from fedrad.errors import DamagedStateError, RunError
from fedrad.protocol.messages import Block, Phase
from fedrad.task import is_evaluation_round


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The round in which a run was cut."""

    number: int
    phase: Phase  # what was under way
    closed: bool  # no further replies were waited for
    answered: frozenset[str]  # sites that are not asked (again): their answer stands
    accepted: dict[str, str]  # train: site -> digest of the update that lies here
    late: dict[str, str]  # train: the same of updates that came late and are carried
    blocks: dict[str, tuple[Block, ...]]  # evaluate: site -> the sums that it sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a run came."""

    course: Course
    last: int = 0  # the last round that is over
    cut: Cut | None = None


def read_standing(setup: RunSetup, store: Store) -> Standing:
    """Return where a run stands; one that never began stands before round 1.

    Raises:
        RunError: The run began with another model than the one given.
    """
    course = Course(setup)
    rounds = _states(store)
    if not rounds:
        return Standing(course=course)
    _refuse_other_start(setup, store, course)
    _bring_up(setup, store, course)
    rounds = _states(store)  # some may be lost
    cut = _cut(setup, store, course)
    last = max(rounds, default=0)
    return Standing(
        course=course,
        last=last if cut is None else last - 1,
        cut=cut,
    )


def stand(setup: RunSetup, store: Store, course: Course) -> None:
    """Move ``course`` to the model that the run's history says it stands on.

    Damaged checkpoints are made again, or their rounds are lost, as for a run that goes on.
    """
    course.restart()
    _bring_up(setup, store, course)


def _refuse_other_start(setup: RunSetup, store: Store, course: Course) -> None:
    try:
        state, _, _ = checkpoints.read_round(setup.folder, 0)
    except DamagedStateError as error:
        store.record_event("checkpoint-damaged", 0, detail={"problem": str(error)})
        course.write(0, {})
        return
    if state.model_digest != course.digest:
        raise RunError(f"{setup.folder} holds a run that began with another model than this one")


def _bring_up(setup: RunSetup, store: Store, course: Course) -> None:
    """Move ``course`` from before round 1 along the rounds that lead to where the run stands."""
    line = read_lineage(store).line
    good = next((n for n in reversed(line) if _restored(store, course, n)), 0)
    for number in line[line.index(good) + 1 if good else 0 :]:
        try:
            accepted, late = _accepted(setup, store, number), carried(store, number)
            if accepted != fresh(store, number) | late:
                raise DamagedStateError("accepted updates are missing or damaged")
            course.fold(number, course.measure(number, accepted, late=late))
        except DamagedStateError as error:
            for lost in store.lose_rounds(number, problem=str(error)):
                checkpoints.set_aside(setup.folder, lost)
            break
        course.write(number, accepted)
        store.record_event("checkpoint-mended", number, detail={"model_digest": course.digest})
    course.committed = read_lineage(store).used


def _restored(store: Store, course: Course, number: int) -> bool:
    """Try to stand at the checkpoint of a round; say loudly why not."""
    try:
        course.restore(number)
    except DamagedStateError as error:
        store.record_event("checkpoint-damaged", number, detail={"problem": str(error)})
        return False
    return True


def _cut(setup: RunSetup, store: Store, course: Course) -> Cut | None:
    """Return what the last round still needs; ``None`` if it is over."""
    number, state = max(_states(store).items(), default=(0, ""))
    if state in OPEN:
        accepted = _accepted(setup, store, number)
        late = {site: accepted.pop(site) for site in carried(store, number) if site in accepted}
        lost = fresh(store, number).keys() - accepted.keys()
        _give_up(store, number, carried(store, number).keys() - late.keys())
        closed = state != "asked"
        stands = setup.contract.sites if closed else _answered(store, number, "train")
        return Cut(
            number=number,
            phase="train",
            closed=closed,
            answered=frozenset(stands) - lost,
            accepted=accepted,
            late=late,
            blocks={},
        )
    due = is_evaluation_round(setup.task, course.committed)
    if state != "committed" or not due or course.changed != number:
        return None
    return Cut(
        number=number,
        phase="evaluate",
        closed=False,
        answered=frozenset(_answered(store, number, "evaluate")),
        accepted={},
        late={},
        blocks=_blocks(store, number),
    )


def _accepted(setup: RunSetup, store: Store, number: int) -> dict[str, str]:
    """Return the updates that a round folds whose files are still what they were."""
    late = carried(store, number)
    return readable(setup.folder, number, fresh(store, number) | late, late=late)


def _give_up(store: Store, number: int, sites: Iterable[str]) -> None:
    """Note late updates of an open round whose files are damaged: nobody keeps another copy."""
    for site in sites:
        (row,) = store.rows("replies", round=number, phase=LATE, site=site, outcome="done")
        store.record([Answer(**row | {"outcome": "failed", "reason_code": LATE})])
        store.record_event("late-lost", number, site=site)


def _answered(store: Store, number: int, phase: Phase) -> set[str]:
    """Return the sites that answered; one that was offline may be asked again."""
    rows = store.rows("replies", round=number, phase=phase)
    return {row["site"] for row in rows if row["reason_code"] != "offline"}


def _blocks(store: Store, number: int) -> dict[str, tuple[Block, ...]]:
    """Return the sums that sites sent in a round's evaluation."""
    done = store.rows("replies", round=number, phase="evaluate", outcome="done")
    rows = store.rows("reports", round=number, window="")
    return {
        row["site"]: tuple(_site_blocks([own for own in rows if own["site"] == row["site"]]))
        for row in done
    }


def _site_blocks(rows: list[dict[str, Any]]) -> Iterator[Block]:
    for name in dict.fromkeys(row["block"] for row in rows):
        own = sorted((row for row in rows if row["block"] == name), key=lambda row: row["idx"])
        values = [math.nan if row["value"] is None else row["value"] for row in own]
        yield Block(
            name=name,
            values=np.array(values, np.float64),
            sigma=own[0]["sigma"],
            sensitivity=own[0]["sensitivity"],
        )


def _states(store: Store) -> dict[int, str]:
    """Return every round's state, in the order of the rounds."""
    return {row["round"]: row["state"] for row in store.rows("rounds")}
