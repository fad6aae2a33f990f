"""Collect the windows of the model in use: no training runs meanwhile.

Each window that is due is asked of each site once, in the order of the dates; a site that has
not answered is asked again when this is called again, and its own records send the same answer.
What the windows say is ``judging``'s business, where the sites are the grid's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from aggregator import checkpoints
from aggregator.asking import Question, ask_sums
from aggregator.intake import Asked, Intake
from aggregator.judging import judge
from aggregator.members import Members
from aggregator.release import figures_of
from aggregator.scoring import Scoring
from aggregator.setup import OnRelease, RunSetup
from aggregator.store import Store, report_rows
from aggregator.tables import Alarm, Metric, Report
from aggregator.windows import promoted, refuse_replayed, told
from fedrad.errors import RunError
from fedrad.parameters import Parameters
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.agreed import (
    check_window,
    layout_of,
    monitoring_of,
    most_patients,
    phases,
    window_name,
)
from fedrad.shift.due import last_due
from fedrad.task import Task

WINDOW_SPLIT = "window"
_FINAL = ("done", "refused")  # outcomes after which a window is not asked again


@dataclass(frozen=True, slots=True)
class Collected:
    """What one call of ``collect`` brought."""

    windows: tuple[str, ...]  # names of those that somebody answered
    alarms: tuple[Alarm, ...]  # raised now, not before


class Watch:
    """The windows of one run's model in use."""

    def __init__(self, setup: RunSetup, store: Store, members: Members) -> None:
        """Find the model in use.

        Raises:
            RunError: No model was promoted.
            DeclinedError: The task has no windows.
            DamagedStateError: The model cannot be read.
        """
        monitoring_of(setup.task)
        found = promoted(store)
        if found is None:
            raise RunError(
                "no model is in use; promote one first (fedrad-aggregator promote ROUND)"
            )
        self._setup, self._store, self._members, self._model = setup, store, members, found
        self._intake = Intake(setup, store)

    def collect(self, grid: Grid) -> Collected:
        """Ask for every part of a window that is due and was not answered, then judge all."""
        model = checkpoints.read_released(self._setup.folder, self._model.round)
        task, today = self._setup.task, self._setup.clock.now().date()
        last = {phase: last_due(task, phase, today) for phase in phases(task)}
        found: dict[str, None] = {}
        for number in range(max(last.values(), default=-1) + 1):
            for phase in (phase for phase, end in last.items() if number <= end):
                window = window_name(task, number)
                fresh = self._ask(grid, number, phase, model)
                found |= {window: None} if fresh else {}
                if phase != "window-images" and (fresh or not self._scored(window)):
                    self._score(window, phase)
        return Collected(tuple(found), judge(self._setup, self._store, self._model))

    def _ask(self, grid: Grid, number: int, phase: Phase, model: Parameters) -> bool:
        """Ask one part of one window of the sites that owe it; whether anybody answered."""
        rows = self._store.rows("replies", round=number, phase=phase)
        told = {row["site"] for row in rows if row["outcome"] in _FINAL}
        nodes = {n: site for n, site in self._members.asked.items() if site not in told}
        if not nodes:
            return False
        question = Question(number, phase, model, self._rows)
        sums = ask_sums(self._setup, self._intake, grid=grid, nodes=nodes, question=question)
        detail = {
            "window": window_name(self._setup.task, number),
            "phase": phase,
            "sites": sorted(sums),
        }
        self._store.record_event("window-collected", detail=detail)
        return bool(sums)

    def _rows(self, asked: Asked, blocks: tuple[Block, ...]) -> Iterator[Report]:
        request, task = asked.request, self._setup.task
        sigma = self._setup.contract.sites[asked.site].window_sigma
        check_window(blocks, task, request.phase, window_sigma=sigma)
        refuse_replayed(self._store, self._model, asked.site, blocks)
        return report_rows(
            self._model.round,
            asked.site,
            model_digest=request.model_digest,
            blocks=blocks,
            window=window_name(task, request.round),
        )

    def _scored(self, window: str) -> bool:
        """Whether a window has figures; a program that died after the answers wrote none."""
        of_window = {"window": window, "split": WINDOW_SPLIT}
        return bool(self._store.rows("metrics", round=self._model.round, **of_window))

    def _score(self, window: str, phase: Phase) -> None:
        """Record a window's figures from all that was told of it, now and before."""
        rows = self._store.rows("reports", round=self._model.round, window=window)
        sums = {site: one.blocks for site, (one,) in told(rows, phase).items()}
        if not sums:
            return
        figures = _figures(self._setup.task, self._setup.seed, window)
        Scoring(self._setup, self._store, figures).record(self._model.round, sums)


def _figures(task: Task, seed: int, window: str) -> OnRelease:
    """Return what computes a window's figures, as an evaluation's, under the window's name."""
    edged = replace(task, evaluation=replace(task.evaluation, edges=layout_of(task).edges))
    most = most_patients(task)

    def figures(number: int, sums: Mapping[str, Sequence[Block]]) -> Iterator[Metric]:
        named = {site: _as_audit(blocks) for site, blocks in sums.items()}
        for row in figures_of(edged, seed=seed, most=dict.fromkeys(named, most))(number, named):
            row.window, row.split = window, WINDOW_SPLIT
            yield row

    return figures


def _as_audit(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return the blocks of labels and scores, named as an evaluation names them."""
    named = {block.name: block for block in blocks}
    if "dice_histogram" in named:
        return tuple(blocks)
    names = {"n" if "n" in named else "labelled": "n", "positives": "positives"}
    names |= {"operating": "operating", "table": "table"}
    return tuple(replace(named[old], name=new) for old, new in names.items())
