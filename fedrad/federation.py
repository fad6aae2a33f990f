"""The part of a task that says how rounds are run and updates become a model: ``[federation]``.

Public like the whole task; ``fedrad.task`` puts the tables together and names the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fedrad.hours import hours_problems
from fedrad.settings import refuse_problems

FEWEST_FOR_MEDIAN = 5  # updates from which the default rule is the geometric median
SMALLEST_QUORUM = 3  # fewer and a site could subtract itself from the aggregate


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStrategy:
    """``strategy``: how accepted updates become the next model."""

    name: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    rate: float = 1.0  # server learning rate
    proximal: float = 0.0  # mu of FedProx, used by the sites
    beta_1: float = 0.9
    beta_2: float = 0.99
    tau: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``rule``: how a round's updates become one."""

    name: Literal[
        "default", "mean", "geometric-median", "median", "trimmed-mean", "centred-clipping"
    ] = "default"
    clip: float = 2.0  # of the median norm: longer updates are shortened to it
    ceiling: float = 10.0  # of the median norm: longer updates are set aside
    trim: float = 0.2  # share of the sites that "trimmed-mean" drops at either end

    def __post_init__(self) -> None:
        refuse_problems("federation.rule", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.clip > 0:
            yield f"clip must be greater than 0, got {self.clip}"
        if not self.ceiling >= max(1.0, self.clip):
            yield f"ceiling must be 1 or more and not below clip, got {self.ceiling}"
        if not 0 <= self.trim < 0.5:
            yield f"trim must lie in [0, 0.5), got {self.trim}"

    def chosen(self, sites: int) -> str:
        """Return the rule for so many updates."""
        if self.name != "default":
            return self.name
        return "geometric-median" if sites >= FEWEST_FOR_MEDIAN else "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """``[federation]``: rounds, quorum and weights."""

    rounds: int
    spare_rounds: int = 0
    strategy: ServerStrategy = ServerStrategy()
    rule: Rule = Rule()
    quorum: int = SMALLEST_QUORUM
    deadline_s: float = 600.0  # counted in ``hours`` alone
    hours: str = ""  # UTC, in which the sites promise to work; empty: always (fedrad.hours)
    late: Literal["discard", "carry"] = "discard"  # an update that came after its round closed
    staleness: int = 1  # rounds after its own in which it may be carried
    weight_cap: float = 0.5  # largest share of one site in an aggregate
    bad_replies: int = 3  # that cannot be used; then a site is left alone until a person lifts it
    average: float | None = None  # decay of the average of the rounds' models; absent: off

    def __post_init__(self) -> None:
        refuse_problems("federation", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.rounds < 1 or self.spare_rounds < 0:
            yield f"rounds must be 1 or more, got {self.rounds} and {self.spare_rounds} spare"
        if self.quorum < SMALLEST_QUORUM:
            yield f"quorum must be {SMALLEST_QUORUM} or more, got {self.quorum}"
        if not self.deadline_s > 0:
            yield f"deadline_s must be greater than 0, got {self.deadline_s}"
        yield from hours_problems(self.hours)
        if self.staleness < 1:
            yield f"staleness must be 1 or more, got {self.staleness}; late = 'discard' is for none"
        if not 0 < self.weight_cap <= 1:
            yield f"weight_cap must lie in (0, 1], got {self.weight_cap}"
        if self.bad_replies < 1:
            yield f"bad_replies must be 1 or more, got {self.bad_replies}"
        if self.average is not None and not 0 < self.average < 1:
            yield f"average must lie between 0 and 1, got {self.average}; leave it out for none"
