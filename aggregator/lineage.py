"""Which round's model a run stands on, and which rounds led there.

Rounds keep their numbers. A round that is held, or a person's rollback, puts the model back
to an earlier round's; what follows descends from that, and what was left stays in the
history. Read from the rows of ``rounds`` and ``events`` alone, so that a restart stands
where the run stood. Files are ``checkpoints``'s, models ``course``'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.run_folder import DATABASE
from aggregator.store import Store

OPEN = ("asked", "received", "folded")  # of one that is not over
CHANGING = ("committed", "evaluated")  # states of a round that made a model
HELD, ROLLED_BACK = "held", "rolled-back"  # events; their detail has ``back_to``
_KINDS = ("committed", HELD, ROLLED_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The rounds that made a model, and how they follow from one another."""

    states: dict[int, str]  # of every round, in order
    line: tuple[int, ...]  # rounds from the first model to the one that stands, in order

    @property
    def stands(self) -> int:
        """The round whose model the next one trains on; 0 is the model before round 1."""
        return self.line[-1] if self.line else 0

    @property
    def used(self) -> int:
        """How many rounds made a model, whatever became of it."""
        return sum(state in CHANGING for state in self.states.values())

    @property
    def left(self) -> frozenset[int]:
        """The rounds whose models the run does not stand on any more."""
        made = {number for number, state in self.states.items() if state in CHANGING}
        return frozenset(made - set(self.line))

    def measured(self, before: int | None = None) -> int:
        """Return the last round of the line that was measured, before another one; 0 if none."""
        found = [number for number in self.line if self.states[number] == "evaluated"]
        return max((n for n in found if before is None or n < before), default=0)


def lineage(rounds: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> Lineage:
    """Read a lineage from the rows of ``rounds`` and ``events``, the latter in order."""
    states = {int(row["round"]): str(row["state"]) for row in rounds}
    turns = [row for row in events if row["kind"] in _KINDS]
    if all(row["kind"] == "committed" for row in turns):  # each follows from the one before
        made = tuple(sorted(number for number, state in states.items() if state in CHANGING))
        return Lineage(states=dict(sorted(states.items())), line=made)
    parent: dict[int, int] = {}
    stands = 0
    for row in turns:
        if row["kind"] == "committed":
            parent.setdefault(int(row["round"]), _alive(stands, parent, states))
            stands = int(row["round"])
        else:
            stands = int(json.loads(row["detail_json"])["back_to"])
    return Lineage(
        states=dict(sorted(states.items())), line=_line(_alive(stands, parent, states), parent)
    )


def read_lineage(store: Store) -> Lineage:
    """Return the lineage of a run."""
    rows = [row for kind in _KINDS for row in store.rows("events", kind=kind)]
    return lineage(store.rows("rounds"), sorted(rows, key=lambda row: int(row["seq"])))


def standing_round(run: Path) -> int:
    """Return the round whose model the run in a folder stands on; 0: the one before round 1."""
    if not (run / DATABASE).is_file():
        return 0
    with Store(run / DATABASE) as store:
        return read_lineage(store).stands


def _alive(number: int, parent: Mapping[int, int], states: Mapping[int, str]) -> int:
    """Return the nearest round from ``number`` back that was not lost."""
    while number and states.get(number) not in CHANGING:
        number = parent.get(number, 0)
    return number


def _line(stands: int, parent: Mapping[int, int]) -> tuple[int, ...]:
    found: list[int] = []
    while stands:
        found.append(stands)
        stands = parent.get(stands, 0)
    return tuple(reversed(found))
