"""The average of the rounds' models: what is measured and released, never trained on.

Each private round's model carries the noise of its last steps; an average over rounds
carries less. It is computed from models that are public already, so it costs no privacy [1].
Averaging as such is Polyak and Juditsky's [2]; decaying weights forget the early rounds.

References:
    [1] De et al., Unlocking High-Accuracy Differentially Private Image Classification through
        Scale, 2022, sec. 3.4: averaging as post-processing.
    [2] Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J.
        Control Optim. 30, 1992.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedrad.parameters import Parameters


class RunningAverage:
    """The average of the models taken so far, the newest weighing most.

    After t models the k-th weighs (1 - d) d^(t-k) / (1 - d^t): the weights sum to 1 from
    the first model on, and the model before round 1 has none.
    """

    def __init__(self, decay: float, *, taken: int = 0, average: Parameters | None = None) -> None:
        """Begin, or go on where a checkpoint stopped.

        Args:
            decay: d, in (0, 1): a model's weight against that of the one after it.
            taken: How many models are in ``average``.
            average: Their average; needed where ``taken`` is above 0.
        """
        self._decay, self._taken = decay, taken
        self._average: Parameters = dict(average or {})

    @property
    def model(self) -> Parameters:
        """The average; empty before the first model."""
        return self._average

    def take(self, model: Parameters) -> None:
        """Move the average towards ``model``, in float64; every dtype is kept.

        What a checkpoint holds is the rounded average, so that a run which goes on from one
        gets the bits of a run that never stopped.
        """
        self._taken += 1
        share = (1 - self._decay) / (1 - self._decay**self._taken)
        before = self._average or model
        self._average = {
            name: _between(before[name], tensor, share) for name, tensor in model.items()
        }


def _between(old: npt.NDArray[Any], new: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    start = old.astype(np.float64)
    moved = start + share * (new.astype(np.float64) - start)
    return np.asarray(moved, new.dtype)
