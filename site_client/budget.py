"""What this hospital's patients have paid, for its own screen: ``fedrad-site budget``.

Nothing here leaves the site or writes, save that a torn last line is mended as the journal
mends it. Numbers are those that the guard decides by, at the site's own delta: per stream
over all contracts, and per task over its revisions. What is still reserved belongs to work
that runs, or died; it counts as spent either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedrad.clock import SystemClock
from fedrad.privacy.accounting import FALSE_ALARM, Event, attack_within, best_attack
from fedrad.privacy.bounds import EVERYBODY, Bound, Limit, Plans, bound
from fedrad.privacy.ledger import Line, Stream, unsettled
from site_client import audit, study
from site_client.guard import check_anchor
from site_client.journal import Journal
from site_client.settings import SiteSettings

_MOST_REPEATS = 1 << 12
_MOST_WARNINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What one patient of one stream paid under one limit."""

    task: str  # its name, or its hash where the name was lost; empty: all tasks
    stream: str
    spent: float  # epsilon of what is settled
    reserved: float  # what open reservations add to it
    limit: float
    steps: int  # steps and releases, reserved ones included
    attack: float  # share of participants recognised at 1 % false alarms, at most
    more: int  # charges like the last one that this limit would still allow, up to 4,096
    filtered: bool  # counted by the Rényi filter: more than one contract

    @property
    def left(self) -> float:
        """Epsilon under the limit that is neither spent nor reserved; 0 or more."""
        return max(0.0, self.limit - self.spent - self.reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The whole of a site's budget; only a ledger that verified has one."""

    site: str
    delta: float
    limit: float
    lines: int  # of the ledger, every hash checked
    head: str
    streams: tuple[Paid, ...]  # over all tasks
    tasks: tuple[Paid, ...]
    refused: str  # the site's sentence about the last request, if it was declined
    warnings: tuple[str, ...] = ()  # what was left out or odd, newest first

    @property
    def worst(self) -> Paid | None:
        """The stream whose patients paid most; none before the first charge."""
        return max(self.streams, key=lambda paid: paid.spent + paid.reserved, default=None)


def read_budget(home: Path, settings: SiteSettings) -> Budget:
    """Verify the ledger and add up what it says.

    Raises:
        LedgerError: The ledger is damaged, or lacks lines that this site told; names the line
            and the way out.
        DamagedStateError: ``state/charged.json`` cannot be read.
    """
    journal = Journal(home, SystemClock())
    with journal.exclusive():
        lines, head = journal.lines(), journal.head
    check_anchor(audit.last_head(home), lines)
    known = study.read_charged(home)
    private = [line for line in lines if line.mechanism != "exact"]
    privacy = settings.privacy
    total = Limit(name="", epsilon=privacy.epsilon_limit, delta=privacy.delta_limit)
    limits = {
        name: replace(total, name=name, epsilon=privacy.per_task.get(name, total.epsilon))
        for name in sorted({known.tasks.get(line.task_hash, line.task_hash) for line in private})
    }
    of_task = {
        name: [line for line in private if known.tasks.get(line.task_hash, line.task_hash) == name]
        for name in limits
    }
    return Budget(
        site=settings.site.name,
        delta=total.delta,
        limit=total.epsilon,
        lines=len(lines),
        head=head,
        streams=tuple(_paid(private, total, known.plans)),
        tasks=tuple(
            paid for name in limits for paid in _paid(of_task[name], limits[name], known.plans)
        ),
        refused=_last_refusal(home),
        warnings=_last_warnings(home),
    )


def as_table(budget: Budget) -> dict[str, Any]:
    """Return the budget as one JSON object; an infinite epsilon is null."""
    worst = budget.worst
    return {
        "site": budget.site,
        "ledger": {"verified": True, "lines": budget.lines, "head": budget.head},
        "delta": budget.delta,
        "epsilon_limit": budget.limit,
        "epsilon": _number(worst.spent + worst.reserved) if worst else 0.0,
        "false_alarm": FALSE_ALARM,
        "attack": worst.attack if worst else FALSE_ALARM,
        "streams": [_row(paid) for paid in budget.streams],
        "tasks": [_row(paid) for paid in budget.tasks],
        "refused": budget.refused,
        "warnings": list(budget.warnings),
    }


def _paid(lines: Sequence[Line], limit: Limit, plans: Plans) -> Iterator[Paid]:
    """Yield what each stream paid under a limit, in the order of their first charge."""
    streams = list(dict.fromkeys(line.stream for line in lines))
    for stream in streams:
        if stream != EVERYBODY or len(streams) == 1:
            yield _of_stream(lines, stream, limit=limit, plans=plans)


def _of_stream(lines: Sequence[Line], stream: Stream, *, limit: Limit, plans: Plans) -> Paid:
    pending = {(line.reservation, line.stream) for line in unsettled(lines)}
    settled = [line for line in lines if (line.reservation, line.stream) not in pending]
    whole = bound(lines, stream, limit=limit, plans=plans, coming=None)
    certain = bound(settled, stream, limit=limit, plans=plans, coming=None).paid
    done, total = whole.cap.used(certain), whole.cap.used(whole.paid)
    return Paid(
        task=limit.name,
        stream=stream,
        spent=done,
        reserved=total - done if math.isfinite(done) else 0.0,
        limit=limit.epsilon,
        steps=sum(event.steps for event in whole.paid),
        attack=_attack(whole, total),
        more=_repeats(whole, whole.paid[-1]),
        filtered=whole.cap.filters(whole.paid),
    )


def _attack(whole: Bound, total: float) -> float:
    """Return what a perfect attacker recognises; of adaptively chosen contracts, the looser."""
    if whole.cap.filters(whole.paid):
        return attack_within(total, whole.limit.delta, false_alarm=FALSE_ALARM)
    return best_attack(whole.paid, false_alarm=FALSE_ALARM)


def _repeats(whole: Bound, last: Event) -> int:
    """Return how many more charges like the last the limit would allow."""
    if last.steps == 0:
        return 0
    low, high = 0, _MOST_REPEATS + 1
    while high - low > 1:
        middle = (low + high) // 2
        fits = whole.allows(replace(last, steps=middle * last.steps))
        low, high = (middle, high) if fits else (low, middle)
    return low


def _row(paid: Paid) -> dict[str, Any]:
    return {
        "task": paid.task,
        "stream": paid.stream,
        "spent": _number(paid.spent),
        "reserved": _number(paid.reserved),
        "left": paid.left,
        "limit": paid.limit,
        "steps": paid.steps,
        "attack": paid.attack,
        "more": paid.more,
        "filtered": paid.filtered,
    }


def _number(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def _last_refusal(home: Path) -> str:
    """Return why the last request was not answered, in the site's own words."""
    notes = [note for note in audit.read(home) if note["kind"] in ("answered", "declined")]
    return str(notes[-1].get("sentence", "")) if notes else ""


def _last_warnings(home: Path) -> tuple[str, ...]:
    found = [note for note in audit.read(home) if note["kind"] == "warning"]
    last = {str(note["sentence"]): str(note["time"]) for note in found}
    newest = sorted(last.items(), key=lambda said: said[1], reverse=True)[:_MOST_WARNINGS]
    return tuple(f"{time}: {sentence}" for sentence, time in newest)
