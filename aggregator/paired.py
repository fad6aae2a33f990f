"""Ask every site to compare a round's model with the one in use, on its own audit patients.

Each site answers once for a pair: its answer is charged like an evaluation, and the same
question brings the kept one. What the answers mean is ``fedrad.shift.gate``'s business, what
follows is ``promotion``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flwr.serverapp import Grid

from aggregator import checkpoints
from aggregator.asking import Question, ask_sums
from aggregator.intake import Asked, Intake
from aggregator.lineage import CHANGING, read_lineage
from aggregator.members import Members
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.store import Store, report_rows
from aggregator.tables import Report
from aggregator.windows import COMPARE, compared, promoted
from fedrad.errors import DeclinedError, RunError
from fedrad.parameters import Parameters, digest
from fedrad.protocol.messages import Block
from fedrad.shift.pairs import check_comparison, may_compare, together


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison: of which round's model, and what each site released of it so far."""

    round: int
    sites: tuple[str, ...]


def compare(
    setup: RunSetup, store: Store, members: Members, *, grid: Grid, number: int
) -> Compared:
    """Ask the sites that did not answer yet; return who has.

    Raises:
        DeclinedError: The task grants no comparison.
        RunError: No model is in use, the round made none, or it is the one in use.
        DamagedStateError: A model cannot be read.
    """
    pair = pair_of(setup, store, number)
    told = set(compared(store, number, digest(pair)))
    nodes = {node: site for node, site in members.asked.items() if site not in told}
    if nodes:
        question = Question(number, "compare", pair, _Rows(setup))
        sums = ask_sums(setup, Intake(setup, store), grid=grid, nodes=nodes, question=question)
        store.record_event("compared", number, detail={"sites": sorted(sums)})
    return Compared(number, tuple(sorted(compared(store, number, digest(pair)))))


def pair_of(setup: RunSetup, store: Store, number: int) -> Parameters:
    """Return the model in use and that of a round as one; raises as ``compare``."""
    if not may_compare(setup.task):
        raise DeclinedError(f"the task {setup.task.task.name!r} grants no comparison of two models")
    used = promoted(store)
    if used is None:
        raise RunError("no model is in use, so there is none to compare with; promote one first")
    if read_lineage(store).states.get(number) not in CHANGING:
        raise RunError(f"round {number} made no model that could be compared")
    if number == used.round:
        raise RunError(f"the model of round {number} is the one in use")
    before = checkpoints.read_released(setup.folder, used.round)
    return together(before, checkpoints.read_released(setup.folder, number))


def answered(folder: Path, number: int) -> tuple[str, ...]:
    """Return the sites that compared a round's model with the one in use."""
    with Store(folder / DATABASE) as store:
        used = promoted(store)
        if used is None:
            return ()
        before, after = (checkpoints.read_released(folder, n) for n in (used.round, number))
        return tuple(compared(store, number, digest(together(before, after))))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Check a site's sums, and make rows of them."""

    setup: RunSetup

    def __call__(self, asked: Asked, blocks: tuple[Block, ...]) -> Iterator[Report]:
        """Return the rows; raises ``ProtocolError`` for sums that are no comparison."""
        sigma = self.setup.contract.sites[asked.site].audit_sigma
        check_comparison(blocks, self.setup.task, audit_sigma=sigma)
        request = asked.request
        return report_rows(
            request.round,
            asked.site,
            model_digest=request.model_digest,
            blocks=blocks,
            window=COMPARE,
        )
