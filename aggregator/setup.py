"""What a run is given before its first round, and who is told how it goes.

Everything here is passed in: folders, seeds, clocks and the ways to compute what this
package leaves to others. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flwr.serverapp import Grid

from aggregator.tables import Metric
from fedrad.clock import Clock, SystemClock
from fedrad.contract import Contract
from fedrad.parameters import Parameters
from fedrad.protocol.messages import Block
from fedrad.task import Task

SIMULATIONS = ("local", "ray")  # engines whose nodes are this machine's own
Identify = Callable[[Grid], dict[int, str]]  # node id -> site name
OnRelease = Callable[[int, Mapping[str, tuple[Block, ...]]], Iterable[Metric]]
# round, site -> its sums; returns the figures to record


class Progress(Protocol):
    """Who is told how far a run is; called between rounds' steps, never for long."""

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Round ``round_number`` was asked; ``committed`` of ``rounds`` are finished."""

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """These sites have not answered yet in this phase."""

    def round_closed(self, round_number: int, state: str) -> None:
        """The round is ``committed`` or ``void``; ``held``, once it was measured."""

    def evaluation_done(self, round_number: int) -> None:
        """The sums of this round's model are recorded."""


class Silent:
    """Progress that nobody follows."""

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Do nothing."""

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Do nothing."""

    def round_closed(self, round_number: int, state: str) -> None:
        """Do nothing."""

    def evaluation_done(self, round_number: int) -> None:
        """Do nothing."""


def no_figures(_: int, __: Mapping[str, tuple[Block, ...]]) -> tuple[Metric, ...]:
    """Record sums only: an ``on_release`` that computes nothing."""
    return ()


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """One run of one study."""

    folder: Path  # the run folder
    task: Task
    contract: Contract
    initial: Callable[[], Parameters]  # makes the model before round 1, frozen ones included
    frozen: frozenset[str] = frozenset()  # names of parameters that no update holds
    run: str = "run"
    seed: int = 0
    engine: str = "local"
    versions: Mapping[str, str] = field(default_factory=dict)
    audit: Path | None = None  # the coordinator's record; absent: one in the run folder
    identify: Identify | None = None  # absent: names of nodes, in a simulation also by asking
    look: Identify | None = None  # who is there now, without waiting; absent: nobody comes or goes
    progress: Progress = field(default_factory=Silent)
    clock: Clock = field(default_factory=SystemClock)
    on_release: OnRelease = no_figures

    @property
    def simulated(self) -> bool:
        """Whether the sites run on this machine, so that nodes need no enrolled names."""
        return self.engine in SIMULATIONS
