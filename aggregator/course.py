"""The model on its way through the rounds: fold, keep, restore.

What a round makes of the model is fixed by the updates it accepted and by nothing else: the
same files give the same bits, today or after a restart. When to fold, and whom to ask, is
the strategy's business; how updates are averaged is that of ``aggregation``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aggregator import checkpoints
from aggregator.accepted import paths
from aggregator.aggregation import robust
from aggregator.aggregation.averaging import RunningAverage
from aggregator.aggregation.optimisers import server_optimiser
from aggregator.setup import RunSetup
from fedrad import parameters as tensors
from fedrad.errors import DamagedStateError
from fedrad.parameters import Parameters


class Course:
    """The model, what its server optimiser remembers, and how many rounds changed it."""

    def __init__(self, setup: RunSetup) -> None:
        """Stand before round 1, with the model that ``setup`` starts from."""
        self._setup = setup
        self.committed = 0  # rounds that made a model, this one or another
        self.changed = 0  # the round whose model this is
        self._line = 0  # rounds that this model descends from
        self._begin(setup.initial(), {}, {})

    @property
    def digest(self) -> str:
        """The digest of the model that the next round trains on."""
        return self._digest

    @property
    def model(self) -> Parameters:
        """The model that the next round trains on, frozen parameters included."""
        return self._model

    @property
    def moving(self) -> Parameters:
        """The parameters that updates change."""
        still = self._setup.frozen
        return {name: tensor for name, tensor in self._model.items() if name not in still}

    @property
    def released(self) -> Parameters:
        """The model that is measured: the average where the task wants one, else the last."""
        return self._model if self._average is None else self._model | self._average.model

    @property
    def released_digest(self) -> str:
        """The digest of the model that is measured."""
        return self._digest if self._average is None else tensors.digest(self.released)

    def measure(
        self, number: int, accepted: Iterable[str], *, late: Collection[str] = ()
    ) -> robust.Measured:
        """Read the updates of a round that lie on disk, less those that are set aside.

        Args:
            number: The round.
            accepted: The sites whose updates were accepted; they alone fix what is set aside.
            late: Those of them whose update is an earlier round's.

        Raises:
            DamagedStateError: An update cannot be read.
        """
        rule = self._setup.task.federation.rule
        files = paths(self._setup.folder, number, accepted, late=late)
        found = robust.measure(files, rule)
        return found.without(robust.too_large(found, rule))

    def fold(self, number: int, updates: robust.Measured) -> dict[str, float]:
        """Make the next model of a round's updates; nothing is written.

        Returns:
            Each site's share before the rule; they sum to 1.

        Raises:
            DamagedStateError: An update cannot be read; the model is as it was.
        """
        plan = self._setup.task.federation
        weights = self._setup.contract.weights(sorted(updates.files), plan.weight_cap)
        step = robust.aggregate(updates, weights, plan.rule)
        self._take(self._model | self._optimiser.step(self.moving, step))
        if self._average is not None:
            self._average.take(self.moving)
        self.committed, self.changed = self.committed + 1, number
        self._line += 1
        return weights

    def write(self, number: int, accepted: Mapping[str, str]) -> None:
        """Write the checkpoint of a round; number 0 is the model before round 1."""
        state = checkpoints.RoundState(
            round=number,
            committed=self.committed,
            model_digest=self._digest,
            accepted=dict(accepted),
            line=self._line,
        )
        moments = self._optimiser.moments()
        average = {} if self._average is None or not self.committed else self.released
        checkpoints.write_round(
            self._setup.folder, state, self._model, moments=moments, average=average
        )

    def restore(self, number: int) -> None:
        """Stand where the checkpoint of round ``number`` was written.

        Raises:
            DamagedStateError: A file is missing, differs from the manifest, or is not what
                its state says; nothing was changed.
        """
        folder = self._setup.folder
        state, model, moments = checkpoints.read_round(folder, number)
        average = checkpoints.read_average(folder, number)
        if state.round != number or tensors.digest(model) != state.model_digest:
            raise DamagedStateError(f"the checkpoint of round {number} is another round's")
        self.committed, self.changed = state.committed, number
        self._line = state.line or state.committed
        self._begin(model, moments, average)

    def restart(self) -> None:
        """Stand before round 1 again."""
        self.committed = self.changed = self._line = 0
        self._begin(self._setup.initial(), {}, {})

    def _begin(self, model: Parameters, moments: Parameters, average: Parameters) -> None:
        plan = self._setup.task.federation
        self._optimiser = server_optimiser(plan.strategy, moments)
        self._average = None
        if plan.average is not None:
            moving = {name: average[name] for name in average if name not in self._setup.frozen}
            self._average = RunningAverage(plan.average, taken=self._line, average=moving)
        self._take(model)

    def _take(self, model: Parameters) -> None:
        self._model, self._digest = model, tensors.digest(model)
