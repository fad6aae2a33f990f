"""What can go wrong in a schedule, as values that can be printed and pasted into a test.

A schedule is a seed, which fixes how long every message takes, and a few events. Drawing
one is a function of a number alone. How an event is made to happen belongs to ``disk``,
``network`` and ``play``. Points are counted over a program's whole life, restarts included:
every sync, rename, ledger write, commit and beginning of training is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

HUB = "hub"  # the coordinator's program
SITES = ("east", "north", "south", "west")
ROUNDS = 3

Phase = Literal["train", "evaluate"]
ON_THE_WAY = ("lost", "doubled", "late", "slow")
BUSY = "busy"  # an answer that is late, of a site that misses the next question, too
BAD = ("nan", "shape", "huge", "loud", "digest", "replay", "twin", "raise")
FILES = ("model", "state", "manifest", "reply", "ledger", "kept")


@dataclass(frozen=True, slots=True)
class Kill:
    """A program ends without a word at its n-th point, and is started again.

    ``power``: its machine stops too, so that what was not synced is gone.
    """

    who: str
    at: int
    power: bool = False


@dataclass(frozen=True, slots=True)
class Full:
    """A program's disk is full from its n-th point on, for so many points."""

    who: str
    at: int
    lasts: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The first question to a site in a round meets something on its way."""

    site: str
    round: int
    how: str  # one of ON_THE_WAY
    phase: Phase = "train"


@dataclass(frozen=True, slots=True)
class Answered:
    """The first answer of a site in a round meets something on its way, or is a bad one."""

    site: str
    round: int
    how: str  # one of ON_THE_WAY, BUSY or BAD
    phase: Phase = "train"


@dataclass(frozen=True, slots=True)
class Offline:
    """A site cannot be reached in some rounds."""

    site: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Clone:
    """A second machine with a copy of the site's home answers a round's question too."""

    site: str
    round: int
    first: bool  # its answer arrives before the site's own


@dataclass(frozen=True, slots=True)
class Damage:
    """A file is changed behind the back of a program that does not run.

    The coordinator's files when it is started again, which it is after this round at the
    latest; a site's before it is asked in this round.
    """

    what: str  # one of FILES
    round: int
    how: Literal["flip", "cut", "empty"]
    site: str = ""  # of a reply, a ledger, a kept answer


@dataclass(frozen=True, slots=True)
class Jump:
    """Every wall clock jumps when a round begins; monotonic clocks do not."""

    round: int
    by_s: int


@dataclass(frozen=True, slots=True)
class Harm:
    """The audited metric is low at two sites when this round's model is measured."""

    round: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """A person sets the model back so many rounds, once this round is over."""

    round: int
    back: int


Event = Kill | Full | Asked | Answered | Offline | Clone | Damage | Jump | Harm | Rollback


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run: what goes wrong in it, and a seed for how long everything takes."""

    seed: int
    events: tuple[Event, ...] = ()


def draw(seed: int) -> Schedule:
    """Return the schedule of a number: one to six events, of every kind in the long run."""
    rng = np.random.default_rng(seed)
    makers = [maker for maker, weight in _MAKERS for _ in range(weight)]
    many = int(rng.integers(1, 7))
    chosen = [makers[int(place)] for place in rng.integers(len(makers), size=many)]
    return Schedule(seed, tuple(maker(rng) for maker in chosen))


def text(schedule: Schedule) -> str:
    """Return the schedule as Python that makes it again."""
    lines = "".join(f"        {event!r},\n" for event in schedule.events)
    return f"Schedule(\n    seed={schedule.seed},\n    events=(\n{lines}    ),\n)"


def _kill_hub(rng: np.random.Generator) -> Event:
    return Kill(HUB, int(rng.integers(1, 181)), power=bool(rng.integers(2)))


def _kill_site(rng: np.random.Generator) -> Event:
    return Kill(_site(rng), int(rng.integers(1, 81)), power=bool(rng.integers(2)))


def _full(rng: np.random.Generator) -> Event:
    who = HUB if rng.integers(2) else _site(rng)
    most = 181 if who == HUB else 81
    return Full(who, int(rng.integers(1, most)), int(rng.integers(1, 12)))


def _asked(rng: np.random.Generator) -> Event:
    return Asked(_site(rng), _round(rng), _one(rng, ON_THE_WAY), _phase(rng))


def _answered(rng: np.random.Generator) -> Event:
    return Answered(_site(rng), _round(rng), _one(rng, (*ON_THE_WAY, BUSY)), _phase(rng))


def _bad(rng: np.random.Generator) -> Event:
    return Answered(_site(rng), _round(rng), _one(rng, BAD))


def _offline(rng: np.random.Generator) -> Event:
    first = _round(rng)
    return Offline(_site(rng), first, first + int(rng.integers(3)))


def _clone(rng: np.random.Generator) -> Event:
    return Clone(_site(rng), _round(rng), first=bool(rng.integers(2)))


def _damage(rng: np.random.Generator) -> Event:
    what, number = _one(rng, FILES), _round(rng)
    how: Literal["flip", "cut", "empty"] = ("flip", "cut", "empty")[int(rng.integers(3))]
    return Damage(what, number, how, _site(rng) if what in ("reply", "ledger", "kept") else "")


def _jump(rng: np.random.Generator) -> Event:
    return Jump(_round(rng), 3600 if rng.integers(2) else -3600)


def _harm(rng: np.random.Generator) -> Event:
    return Harm(int(rng.integers(2, ROUNDS + 2)))


def _rollback(rng: np.random.Generator) -> Event:
    return Rollback(_round(rng), int(rng.integers(1, ROUNDS)))


def _site(rng: np.random.Generator) -> str:
    return _one(rng, SITES)


def _round(rng: np.random.Generator) -> int:
    return int(rng.integers(1, ROUNDS + 2))  # one spare round among them


def _phase(rng: np.random.Generator) -> Phase:
    return "evaluate" if rng.integers(4) == 0 else "train"


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


_MAKERS: tuple[tuple[Callable[[np.random.Generator], Event], int], ...] = (
    (_kill_hub, 5),
    (_kill_site, 4),
    (_full, 2),
    (_asked, 2),
    (_answered, 3),
    (_bad, 3),
    (_offline, 2),
    (_clone, 1),
    (_damage, 3),
    (_jump, 1),
    (_harm, 2),
    (_rollback, 1),
)
