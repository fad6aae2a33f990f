"""A ledger's lines against one limit: what one patient of a stream has paid, and may still.

How a cap counts is ``caps``'s business, what a line says ``ledger``'s, and which limits a
site has is the site's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fedrad.privacy.accounting import Event
from fedrad.privacy.caps import Cap
from fedrad.privacy.ledger import Charge, Line, Stream, beside, spent

Plans = Mapping[str, Mapping[str, int]]  # task hash -> stream -> steps of the whole contract

EVERYBODY: Stream = "other"  # charges that may touch any patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A promise of the site, or of a task, to each patient."""

    name: str  # for the site's own screen
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One limit, and everything that one patient of ``stream`` paid that counts under it."""

    limit: Limit
    stream: Stream
    cap: Cap
    paid: tuple[Event, ...]

    def after(self, event: Event) -> float:
        """Return the epsilon that would count if ``event`` was charged too."""
        return self.cap.used((*self.paid, event))

    def allows(self, event: Event) -> bool:
        """Whether ``event`` fits beside what was paid."""
        return self.cap.holds((*self.paid, event))

    def how(self, event: Event) -> str:
        """Say how ``after`` counts, for the site's own screen."""
        if not self.cap.filters((*self.paid, event)):
            return "one contract, composed exactly"
        if self.cap.filter_delta > 0:
            return "several contracts, or one longer than planned: counted by a Rényi filter"
        return (
            f"the first contract may cost epsilon {self.cap.granted:.2f} and so all of it, "
            "and no other can begin; under a limit a tenth above that a Rényi filter would count"
        )


def bound(
    lines: Sequence[Line], stream: Stream, *, limit: Limit, plans: Plans, coming: Charge | None
) -> Bound:
    """Set the lines of a ledger against a limit.

    Args:
        lines: Those that count under the limit, in the order of the ledger.
        stream: Whose patients; what is charged to ``other`` counts with each stream.
        limit: The promise.
        plans: How long the charged contracts are; one that is absent is not known.
        coming: What is about to be charged, for a ledger without lines of the stream.
    """
    counted = beside(lines, coming.task_hash, coming.reservation) if coming else list(lines)
    own = [line for line in counted if line.stream in (stream, EVERYBODY)]
    events = spent(own)
    first = _first_contract(own[0] if own else coming, plans)
    return Bound(
        limit=limit,
        stream=stream,
        cap=Cap(epsilon=limit.epsilon, delta=limit.delta, first=first),
        paid=tuple(event for kind in events.values() for event in kind),
    )


def touched(lines: Sequence[Line], stream: Stream) -> Iterator[Stream]:
    """Yield the streams whose patients a charge to ``stream`` touches."""
    yield stream
    if stream == EVERYBODY:
        yield from sorted({line.stream for line in lines} - {EVERYBODY})


def _first_contract(first: Line | Charge | None, plans: Plans) -> Event | None:
    """Return all steps of the contract that began with ``first``, if its length is known."""
    if first is None:
        return None
    steps = plans.get(first.task_hash, {}).get(first.stream)
    return None if steps is None else replace(first.event, steps=steps)
