"""Mistakes that somebody might make in the programs, put in for the length of a schedule.

Each takes the place of one function of the real code. A checker that does not see one of them
within 500 schedules is not worth having.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import site_client.app
import site_client.journal
import site_client.outbox
from aggregator import checkpoints, intake, resume, strategy
from aggregator.course import Course
from aggregator.lineage import CHANGING
from aggregator.store import Store
from fedrad import durable, parameters
from fedrad.contract import Contract
from fedrad.protocol import checks
from simulations.faults.disk import replaced
from simulations.faults.events import (
    BUSY,
    HUB,
    Answered,
    Event,
    Harm,
    Kill,
    Offline,
    Rollback,
    Schedule,
)
from site_client.journal import Journal

Change = tuple[Any, str, Any]


@dataclass(frozen=True)
class Defect:
    """A mistake, and the promise that it breaks."""

    name: str
    promise: str
    changes: Callable[[], tuple[Change, ...]]
    shown_by: tuple[Schedule, ...] = (Schedule(1),)  # made by hand: one of them shows it

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Put it in for a while."""
        with replaced(*self.changes()):
            yield


def double_fold() -> tuple[Change, ...]:
    """A restart folds the round of the last checkpoint once more."""
    bring_up = resume._bring_up

    def again(setup: Any, store: Any, course: Any) -> None:
        bring_up(setup, store, course)
        if course.changed:
            accepted = resume._accepted(setup, store, course.changed)
            committed = course.committed
            course.fold(course.changed, course.measure(course.changed, accepted))
            course.committed = committed

    return ((resume, "_bring_up", again),)


def unsynced_ledger() -> tuple[Change, ...]:
    """A ledger's line is written and not synced."""
    own = {name: getattr(os, name) for name in dir(os)}
    append = Journal._append

    def unsynced(self: Journal, line: Any) -> Any:
        with replaced((site_client.journal, "os", SimpleNamespace(**own))):
            site_client.journal.os.fsync = lambda _: None
            site_client.journal.os.write = os.write
            return append(self, line)

    return ((Journal, "_append", unsynced),)


def reused_reply() -> tuple[Change, ...]:
    """A site that kept any answer sends it under the new question's name."""
    kept = site_client.outbox.kept

    def any_kept(home: Path, reply_id: str) -> Any:
        found = kept(home, reply_id)
        older = sorted((home / "state" / "replies").glob("*.safetensors"))
        if found is None and older:
            old = kept(home, older[0].stem)
            request = asked["request"]
            if old is not None and request.phase == "train":
                return replace(
                    old,
                    reply_id=reply_id,
                    round=request.round,
                    model_digest=request.model_digest,
                )
        return found

    asked: dict[str, Any] = {}
    answer = site_client.app._answered

    def noted(site: Any, request: Any, model: Any) -> Any:
        asked["request"] = request
        return answer(site, request, model)

    return ((site_client.outbox, "kept", any_kept), (site_client.app, "_answered", noted))


def lost_void() -> tuple[Change, ...]:
    """A round below its quorum is not written down as void."""
    record = Store.record_round

    def silent(self: Store, number: int, state: str, **columns: str) -> None:
        if state != "void":
            record(self, number, state, **columns)

    return ((Store, "record_round", silent),)


def stale_model() -> tuple[Change, ...]:
    """A restart stands at the model before round 1, whatever was committed."""

    def nothing(setup: Any, store: Any, course: Any) -> None:
        rows = [r for r in store.rows("rounds") if r["state"] in ("committed", "evaluated")]
        course.committed = len(rows)
        course.changed = max((r["round"] for r in rows), default=0)

    return ((resume, "_bring_up", nothing),)


def unsynced_checkpoint() -> tuple[Change, ...]:
    """Files of a round are written in place, without a sync or a rename."""

    def in_place(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def tensors(path: Path, held: Any) -> None:
        from safetensors.numpy import save

        in_place(path, save(dict(held), metadata={"order": "\x1f".join(held)}))

    loose = SimpleNamespace(**{name: getattr(durable, name) for name in dir(durable)})
    loose.write_bytes = in_place
    loose.write_json = lambda path, value: in_place(path, durable.canonical_json(value))
    names = SimpleNamespace(**{name: getattr(parameters, name) for name in dir(parameters)})
    names.write_safetensors = tensors
    return ((checkpoints, "durable", loose), (checkpoints, "tensors", names))


def other_round_accepted() -> tuple[Change, ...]:
    """Nobody looks which question a reply answers."""
    return ((checks, "check_identity", lambda *_: None),)


def weight_lie() -> tuple[Change, ...]:
    """A site's share is what it asks for, not what the contract says."""
    agreed = Contract.weights

    def lied(self: Contract, sites: Any, cap: float) -> dict[str, float]:
        shares = agreed(self, sites, cap)
        shares |= {site: 3 * share for site, share in shares.items() if site == "east"}
        return {site: share / sum(shares.values()) for site, share in shares.items()}

    return ((Contract, "weights", lied),)


def commit_too_low() -> tuple[Change, ...]:
    """A commit settles on fewer steps than were taken."""
    commit = Journal.commit

    def low(self: Journal, reservation: str, *, steps: int) -> Any:
        return commit(self, reservation, steps=steps - 1)

    return ((Journal, "commit", low),)


def asked_again() -> tuple[Change, ...]:
    """A restart asks everybody, also those whose answers stand."""
    cut = resume._cut

    def nobody_answered(setup: Any, store: Any, course: Any) -> Any:
        found = cut(setup, store, course)
        return None if found is None else replace(found, answered=frozenset())

    return ((resume, "_cut", nobody_answered),)


def not_finite() -> tuple[Change, ...]:
    """An update is folded whatever it holds."""
    return ((checks, "check_update", lambda *_, **__: None),)


def void_changes() -> tuple[Change, ...]:
    """A round below its quorum changes the model all the same, and is void."""
    record = Store.record_round
    started = strategy.FedradStrategy.aggregate_train

    def folded(self: Any, number: int, replies: Any) -> Any:
        def silent(store: Store, round_: int, state: str, **columns: str) -> None:
            if state == "void" and (accepted := resume._accepted(self._setup, store, round_)):
                self._course.fold(round_, self._course.measure(round_, accepted))
                self._course.committed -= 1
            record(store, round_, state, **columns)

        with replaced((Store, "record_round", silent)):
            return started(self, number, replies)

    return ((strategy.FedradStrategy, "aggregate_train", folded),)


def charged_late() -> tuple[Change, ...]:
    """A round is charged when it is over, not before it begins."""
    reserve, commit = Journal.reserve, Journal.commit
    held: dict[str, Any] = {}

    def later(self: Journal, charge: Any) -> None:
        held[charge.reservation] = charge

    def both(self: Journal, reservation: str, *, steps: int) -> Any:
        reserve(self, held.pop(reservation))
        return commit(self, reservation, steps=steps)

    def settle(self: Journal, reservation: str, *, steps: int) -> None:
        if reservation in held:
            both(self, reservation, steps=steps)

    changes: list[Change] = [(Journal, "reserve", later), (Journal, "commit", both)]
    if hasattr(Journal, "settle"):
        changes.append((Journal, "settle", settle))
    return tuple(changes)


def text_of_an_error() -> tuple[Change, ...]:
    """What a library said of a patient goes over the wire."""

    def loose(site: Any, request: Any, model: Any) -> Any:
        return site.answer(request, model)

    return ((site_client.app, "_answered", loose),)


def silent_end() -> tuple[Change, ...]:
    """A run ends and nobody writes down how."""
    return ((Store, "end_run", lambda *_, **__: None),)


def any_order() -> tuple[Change, ...]:
    """A round is marked as committed before its checkpoint is written."""
    write = Course.write
    record = Store.record_round

    def early(self: Course, number: int, accepted: Any) -> None:
        if number:
            with Store(self._setup.folder / "run.sqlite", self._setup.clock) as store:
                record(store, number, "committed")
        write(self, number, accepted)

    return ((Course, "write", early),)


def forgets_what_it_told() -> tuple[Change, ...]:
    """Ledger lines of a reply are not recorded."""
    take = intake.parse_lines

    def none(events: Any) -> Any:
        take(events)
        return []

    record = Store.record_reply

    def untold(self: Store, answer: Any, also: Any = (), *, ledger_lines: Any = ()) -> None:
        del ledger_lines
        record(self, answer, also)

    return ((intake, "parse_lines", none), (Store, "record_reply", untold))


def held_model_stays() -> tuple[Change, ...]:
    """A round that is held is written down as held, and its model is trained on."""
    return ((strategy, "stand", lambda *_: None),)


def rollback_forgotten() -> tuple[Change, ...]:
    """A restart stands on the last round that made a model, whatever a person decided."""
    own = resume.read_lineage

    def last(store: Store) -> Any:
        found = own(store)
        made = [number for number, state in found.states.items() if state in CHANGING]
        return replace(found, line=tuple(made))

    return ((resume, "read_lineage", last),)


def late_as_fresh() -> tuple[Change, ...]:
    """A late update is taken for one of the round that is open."""
    record = Store.record_reply

    def fresh(self: Store, answer: Any, also: Any = (), *, ledger_lines: Any = ()) -> None:
        if answer.phase == "late" and answer.outcome == "done":
            answer.phase = "train"
        record(self, answer, also, ledger_lines=ledger_lines)

    return ((Store, "record_reply", fresh),)


def _at(*events: Event) -> tuple[Schedule, ...]:
    return (Schedule(1, events),)


_HUB_DIES = tuple(Schedule(1, (Kill(HUB, at),)) for at in range(35, 185, 15))
_HUB_LOSES_POWER = tuple(Schedule(1, (Kill(HUB, at, power=True),)) for at in range(60, 190, 7))
_SITE_DIES = tuple(Schedule(1, (Kill("east", at),)) for at in range(2, 30, 2))
_SITE_LOSES_POWER = tuple(Schedule(1, (Kill("east", at, power=True),)) for at in range(8, 70, 5))
_TWO_AWAY = _at(Offline("east", 1, 1), Offline("north", 1, 1))

DEFECTS = (
    Defect("double fold", "I2 I6", double_fold, _HUB_DIES),
    Defect("unsynced ledger", "I1", unsynced_ledger, _SITE_LOSES_POWER),
    Defect("reused reply", "I3", reused_reply),
    Defect("lost void", "I5", lost_void, _TWO_AWAY),
    Defect("stale model", "I2 I6", stale_model, _HUB_DIES),
    Defect("checkpoint without sync and rename", "I2 I5", unsynced_checkpoint, _HUB_LOSES_POWER),
    Defect(
        "reply accepted from another round",
        "I3",
        other_round_accepted,
        _at(Answered("east", 2, "replay"), Kill("west", 9), Offline("south", 3, 3)),
    ),
    Defect("weight lie", "I2 I6", weight_lie),
    Defect("commit that lowers too much", "I1", commit_too_low),
    Defect("resume asks an answered site again", "I3", asked_again, _HUB_DIES),
    Defect(
        "update that is not finite let through",
        "I3 I4",
        not_finite,
        _at(Answered("east", 1, "nan")),
    ),
    Defect("void round that changes the model", "I2 I6", void_changes, _TWO_AWAY),
    Defect("charged after training", "I1", charged_late, _SITE_DIES),
    Defect(
        "text of an error on the wire",
        "I7",
        text_of_an_error,
        _at(Answered("east", 1, "raise")),
    ),
    Defect("run that ends silently", "I5", silent_end),
    Defect("committed before its checkpoint", "I3", any_order),
    Defect("told ledger lines forgotten", "I1", forgets_what_it_told),
    Defect("held round whose model stays", "I2 I6", held_model_stays, (Schedule(2, (Harm(2),)),)),
    Defect("rollback that a restart forgets", "I2 I6", rollback_forgotten, _at(Rollback(2, 1))),
    Defect(
        "late update counted as the open round's",
        "I2 I3",
        late_as_fresh,
        (Schedule(2, (Answered("east", 1, BUSY),)),),
    ),
)
