"""Play a schedule: a whole study, its coordinator started again until it ends.

The coordinator's program and the sites' are the real ones; see ``study`` for what stands for
patients, ``disk`` and ``network`` for what goes wrong. What is left on disk, and what the
stand-ins wrote down, is the history that ``invariants`` reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import site_client.app
import site_client.round
from aggregator import decisions
from aggregator.app import server_app
from aggregator.lineage import read_lineage
from aggregator.run_folder import DATABASE
from aggregator.setup import Silent
from aggregator.store import Store
from fedrad.errors import DamagedStateError, FedradError, RunError
from simulations.engines import server_context
from simulations.faults import shortcuts, study
from simulations.faults.disk import Disk, Killed, replaced
from simulations.faults.events import (
    HUB,
    SITES,
    Damage,
    Event,
    Full,
    Harm,
    Jump,
    Kill,
    Rollback,
    Schedule,
)
from simulations.faults.machines import Machine, SiteOf, files_of, spoil
from simulations.faults.network import Hung, Network, VirtualClock, VirtualGrid
from simulations.faults.study import Plan, Studies, Truth

WORSE = ("north", "west")  # where the metric is low after a harm
A_PERSON = decisions.Decider(by="Dr Ada", reason="a schedule says so")
MOST_LIVES = 40  # starts of the coordinator
_HOPELESS = "stopped: the run stops after"
_FINISHED = "already holds a finished run"
_BETWEEN_S = 10.0  # from an end to the next start


@dataclass(slots=True, kw_only=True)
class History:
    """What a schedule left behind."""

    schedule: Schedule
    plan: Plan
    folder: Path
    truth: Truth
    lives: list[str] = field(default_factory=list)  # how each life of the coordinator ended
    fired: list[tuple[Kill | Full, str]] = field(default_factory=list)
    damaged: dict[Path, bytes] = field(default_factory=dict)  # file -> what it held before
    done: list[Event] = field(default_factory=list)  # damage and jumps that happened
    leaks: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def homes(self) -> Path:
        """Where the sites' homes are, clones included."""
        return self.folder / "sites"


def play(schedule: Schedule, studies: Studies, folder: Path) -> History:
    """Play ``schedule`` in ``folder``, which must not exist."""
    plan = studies.of(schedule.seed)
    plan.copy_homes(folder / "sites")
    history = History(schedule=schedule, plan=plan, folder=folder, truth=Truth())
    _Stage(history).play()
    return history


def live_on(history: History) -> str:
    """Start the coordinator once, on whatever is in the folder; return how its life ended."""
    history.lives.append(_Stage(history).live())
    return history.lives[-1]


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Let programs say nothing for a while."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class _Stage(Silent):
    """One schedule being played; the coordinator tells it how far a round is."""

    def __init__(self, history: History) -> None:
        self._history, self._clock = history, VirtualClock()
        events = history.schedule.events
        self._disk = Disk(events, history.folder)
        self._machines = {
            site: Machine(site, site, history.homes / site, self._disk) for site in SITES
        }
        self._network = Network(history.schedule, self._clock, self._machines, history.truth)
        self._damage = [e for e in events if isinstance(e, Damage)]
        self._jumps = [e for e in events if isinstance(e, Jump)]
        self._rollbacks = [e for e in events if isinstance(e, Rollback)]
        self._last = 0  # the last round that was closed
        self._figures = study.figures({e.round: WORSE for e in events if isinstance(e, Harm)})

    def play(self) -> None:
        """Start the coordinator until its run is over."""
        history = self._history
        with self._stand_ins(), self._disk.watched():
            while len(history.lives) < MOST_LIVES:
                history.lives.append(self._live())
                if history.lives[-1] in ("done", "hung") or self._is_over():
                    break
                self._clock.sleep(_BETWEEN_S)
                self._disk.revive(HUB, history.run)
                self._spoil("ledger", "kept", but=True)
                self._set_back()
        history.fired, history.leaks = self._disk.fired, self._network.leaks

    def live(self) -> str:
        """Start the coordinator once; return how its life ended."""
        with self._stand_ins():
            return self._live()

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Let clocks jump, and damage the sites' files."""
        del committed, rounds
        self._last = round_number - 1
        for jump in [jump for jump in self._jumps if jump.round == round_number]:
            self._jumps.remove(jump)
            self._clock.jumped_s += jump.by_s
            self._history.done.append(jump)
        self._spoil("ledger", "kept", number=round_number)

    def round_closed(self, round_number: int, state: str) -> None:
        """End the coordinator if its files are still to be damaged, or its model set back."""
        del state
        self._last = round_number
        if any(rollback.round <= round_number for rollback in self._rollbacks):
            self._disk.kill(HUB)
        for damage in self._damage:
            due = damage.what not in ("ledger", "kept") and damage.round <= round_number
            if due and files_of(damage, self._history.run, self._history.homes):
                self._disk.kill(HUB)

    def _set_back(self) -> None:
        """Be the person who sets the model back, where there is one to go back to."""
        place = decisions.Place(folder=self._history.run, audit=self._history.folder / "decided")
        for rollback in [e for e in self._rollbacks if e.round <= self._last]:
            self._rollbacks.remove(rollback)
            with Store(place.folder / DATABASE, self._clock) as store:
                line = (0, *read_lineage(store).line)
            with suppress(RunError, DamagedStateError):  # there is none, or it is damaged
                target = line[max(0, len(line) - 1 - rollback.back)]
                decisions.roll_back(place, target, A_PERSON, self._clock)
                self._history.done.append(rollback)

    def _is_over(self) -> bool:
        """Whether a person would not start it again: it says so a second time."""
        lives = self._history.lives
        if _FINISHED in lives[-1]:
            lives.append("done")  # it was killed when its run was over
            return True
        return lives[-1].startswith(_HOPELESS) and lives.count(lives[-1]) > 1

    def _live(self) -> str:
        plan, run = self._history.plan, self._history.run
        own = {"clock": self._clock, "progress": self, "on_release": self._figures}
        setup = plan.setup(run, **own)
        grid = VirtualGrid(SITES, self._network)
        try:
            with self._disk.acting(HUB):
                server_app(setup)(grid, server_context(grid.run.run_id))
        except Killed:
            return "killed"
        except Hung:
            return "hung"
        except FedradError as error:
            return f"stopped: {error}"
        except Exception as error:  # noqa: BLE001  # what no run may end with: the checker says so
            return f"crashed: {type(error).__name__}: {error}"
        return "done"

    def _spoil(self, *whats: str, number: int | None = None, but: bool = False) -> None:
        history = self._history
        for damage in [d for d in self._damage if (d.what in whats) != but]:
            if number is None or damage.round == number:
                for path in files_of(damage, history.run, history.homes):
                    history.damaged.setdefault(path, spoil(path, damage.how))
                    history.done.append(damage)
                    if damage in self._damage:
                        self._damage.remove(damage)

    @contextmanager
    def _stand_ins(self) -> Iterator[None]:
        """Let sites be the study's, also for what reaches them between two lives."""
        site_of = SiteOf(_ByHome(self._machines), self._history.truth, self._clock)
        with _stand_ins(site_of), shortcuts.taken(), quiet_logs():
            yield


class _ByHome(dict[Path, Machine]):
    """The machines by their homes, clones included as they come."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        super().__init__()
        self._machines = machines

    def __missing__(self, home: Path) -> Machine:
        return next(machine for machine in self._machines.values() if machine.home == home)


@contextmanager
def _stand_ins(site_of: SiteOf) -> Iterator[None]:
    """Put the stand-ins of ``study`` in the place of what reads patients."""
    place: Any = site_client.round
    with replaced(
        (site_client.app, "Site", site_of),
        (place, "only_accounted", lambda *_, **__: nullcontext()),
        (place, "refuse_untrainable", lambda *_: None),
        (place, "train_round", study.train_stand_in),
        (place, "measure_split", study.measure_stand_in),
    ):
        yield
