"""How the mean update becomes the next model: FedAvg, FedProx and FedAdam.

A step writes the next model over the mean update it is given, piece by piece, so that it
needs no third copy of the model; the model itself is left alone and dtypes are kept. What
must be remembered between rounds are the moments, plain tensors that a checkpoint can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedrad import parameters as tensors
from fedrad.federation import ServerStrategy
from fedrad.parameters import Parameters

_FIRST, _SECOND = "m:", "v:"
_NOTHING: Parameters = {}
_PIECE = 1 << 16  # values
_Floats = npt.NDArray[Any]


class ServerOptimiser(Protocol):
    """One server step from the sites' mean update."""

    def step(self, model: Parameters, mean_update: Parameters) -> Parameters:
        """Return the next model, in the arrays of ``mean_update`` (trained minus received).

        Raises:
            ParametersError: The update does not fit the model.
        """

    def moments(self) -> Parameters:
        """Return what a checkpoint holds beside the model; empty if nothing."""


def server_optimiser(strategy: ServerStrategy, moments: Parameters = _NOTHING) -> ServerOptimiser:
    """Return the optimiser that the task names.

    FedProx differs from FedAvg at the sites only: its proximal term is theirs to add.

    Args:
        strategy: The task's.
        moments: What a checkpoint kept of ``moments()``; empty at the start of a run.
    """
    if strategy.name == "fedadam":
        return FedAdam(strategy, moments)
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
        following = _writable(mean_update)
        for name, tensor in model.items():
            for piece in _pieces(following[name], tensor):
                self._move(*piece)
        return following

    def moments(self) -> Parameters:
        """Return nothing: there is nothing to remember."""
        return {}

    def _move(self, delta: _Floats, old: _Floats) -> None:
        delta *= self._rate
        delta += old


class FedAdam:
    """Adam on the server, with the mean update as its gradient [1].

    m ← β1·m + (1 − β1)·Δ;  v ← β2·v + (1 − β2)·Δ²;  model ← model + rate · m / (√v + τ).
    m starts at 0 and v at τ²; there is no bias correction, as printed.

    References:
        [1] Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2.
    """

    def __init__(self, strategy: ServerStrategy, moments: Parameters = _NOTHING) -> None:
        self._settings = strategy
        self._first = _named(_FIRST, moments)
        self._second = _named(_SECOND, moments)

    def step(self, model: Parameters, mean_update: Parameters) -> Parameters:
        """Return the next model and remember the moments."""
        tensors.refuse_misfit(mean_update, model)
        if not self._first:
            start = self._settings.tau**2
            self._first = {name: np.zeros(t.shape, t.dtype) for name, t in model.items()}
            self._second = {name: np.full(t.shape, start, t.dtype) for name, t in model.items()}
        following = _writable(mean_update)
        for name, tensor in model.items():
            arrays = (following[name], tensor, self._first[name], self._second[name])
            for piece in _pieces(*arrays):
                self._move(*piece)
        return following

    def moments(self) -> Parameters:
        """Return both moments, each name behind ``m:`` or ``v:``."""
        first = {_FIRST + name: tensor for name, tensor in self._first.items()}
        return first | {_SECOND + name: tensor for name, tensor in self._second.items()}

    def _move(self, delta: _Floats, old: _Floats, first: _Floats, second: _Floats) -> None:
        use = self._settings
        first *= use.beta_1
        first += (1 - use.beta_1) * delta
        np.square(delta, out=delta)
        second *= use.beta_2
        second += (1 - use.beta_2) * delta
        np.sqrt(second, out=delta)
        delta += use.tau
        np.divide(first, delta, out=delta)
        delta *= use.rate
        delta += old


def _named(start: str, moments: Parameters) -> Parameters:
    """Return one kind of moments under the parameters' own names, in arrays of their own."""
    own = {name: tensor for name, tensor in moments.items() if name.startswith(start)}
    return {name.removeprefix(start): np.array(tensor) for name, tensor in own.items()}


def _writable(update: Parameters) -> Parameters:
    """Return the same arrays, or copies of those that cannot be written piece by piece."""
    return {name: np.require(tensor, requirements=("C", "W")) for name, tensor in update.items()}


def _pieces(*tensors_: _Floats) -> Iterator[tuple[_Floats, ...]]:
    """Yield matching pieces of equally large tensors, as views of one axis."""
    flat = [tensor.reshape(-1) for tensor in tensors_]
    for start in range(0, flat[0].size, _PIECE):
        yield tuple(tensor[start : start + _PIECE] for tensor in flat)
