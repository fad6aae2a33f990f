"""How the mean update becomes the next model: FedAvg, FedProx and FedAdam.

An optimiser changes nothing it is given and keeps dtypes. What it must remember between
rounds are its moments, plain tensors that a checkpoint can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedrad import parameters as tensors
from fedrad.errors import RunError
from fedrad.parameters import Parameters
from fedrad.task import ServerStrategy

_FIRST, _SECOND = "m:", "v:"


class ServerOptimiser(Protocol):
    """One server step from the sites' mean update."""

    def step(self, model: Parameters, mean_update: Parameters) -> Parameters:
        """Return the next model; ``mean_update`` is trained minus received."""

    def moments(self) -> Parameters:
        """Return what must survive a restart; empty if nothing must."""

    def restore(self, moments: Parameters) -> None:
        """Go on from what ``moments`` returned."""


def server_optimiser(strategy: ServerStrategy) -> ServerOptimiser:
    """Return the optimiser that the task names.

    FedProx differs from FedAvg at the sites only: its proximal term is theirs to add.
    """
    if strategy.name == "fedadam":
        return FedAdam(strategy)
    return FedAvg(strategy.rate)


class FedAvg:
    """model + rate · mean update; at rate 1 the weighted mean of the sites' models [1].

    References:
        [1] McMahan et al., Communication-Efficient Learning of Deep Networks from
            Decentralized Data, AISTATS 2017, algorithm 1.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def step(self, model: Parameters, mean_update: Parameters) -> Parameters:
        """Return the next model."""
        tensors.refuse_misfit(mean_update, model)
        return {name: _moved(model[name], self._rate, mean_update[name]) for name in model}

    def moments(self) -> Parameters:
        """Return nothing: there is nothing to remember."""
        return {}

    def restore(self, moments: Parameters) -> None:
        """Take the moments of a run that had none.

        Raises:
            RunError: There are moments: the checkpoint is another optimiser's.
        """
        if moments:
            raise RunError("the checkpoint holds moments, but this optimiser has none")


class FedAdam:
    """Adam on the server, with the mean update as its gradient [1].

    m ← β1·m + (1 − β1)·Δ;  v ← β2·v + (1 − β2)·Δ²;  model ← model + rate · m / (√v + τ).
    m starts at 0 and v at τ²; there is no bias correction, as printed.

    References:
        [1] Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2.
    """

    def __init__(self, strategy: ServerStrategy) -> None:
        self._settings = strategy
        self._first: Parameters = {}
        self._second: Parameters = {}

    def step(self, model: Parameters, mean_update: Parameters) -> Parameters:
        """Return the next model and remember the moments."""
        tensors.refuse_misfit(mean_update, model)
        if not self._first:
            self._first = {name: np.zeros_like(t) for name, t in model.items()}
            tau = self._settings.tau
            self._second = {name: np.full_like(t, tau * tau) for name, t in model.items()}
        return {name: self._tensor(name, model[name], mean_update[name]) for name in model}

    def moments(self) -> Parameters:
        """Return both moments, each name behind ``m:`` or ``v:``."""
        first = {_FIRST + name: tensor for name, tensor in self._first.items()}
        return first | {_SECOND + name: tensor for name, tensor in self._second.items()}

    def restore(self, moments: Parameters) -> None:
        """Go on from what ``moments`` returned."""
        self._first = _behind(_FIRST, moments)
        self._second = _behind(_SECOND, moments)

    def _tensor(
        self, name: str, tensor: npt.NDArray[Any], delta: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        use, first, second = self._settings, self._first[name], self._second[name]
        first *= use.beta_1
        first += (1 - use.beta_1) * delta
        second *= use.beta_2
        second += (1 - use.beta_2) * np.square(delta)
        return _moved(tensor, use.rate, first / (np.sqrt(second) + use.tau))


def _moved(tensor: npt.NDArray[Any], rate: float, direction: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(tensor + rate * direction).astype(tensor.dtype, copy=False)


def _behind(prefix: str, moments: Mapping[str, npt.NDArray[Any]]) -> Parameters:
    return {
        name.removeprefix(prefix): np.array(tensor)
        for name, tensor in moments.items()
        if name.startswith(prefix)
    }
