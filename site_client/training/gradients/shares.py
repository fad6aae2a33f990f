"""Hold what a layer found out about each patient until all layers are known.

The clip factor of a patient needs the norm over all tensors, so every tensor first gives a
squared norm for each patient and later a sum weighted by the factors. The sum is either
taken over gradients that were kept, or computed from the two signals that were kept in
their place, whichever is smaller and faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from site_client.training.gradients.grouping import Grouping


class Share(Protocol):
    """One trained tensor's part in every patient's gradient."""

    @property
    def name(self) -> str:
        """Name of the tensor in the network."""

    @property
    def way(self) -> str:
        """How it is computed, for tables."""

    @property
    def squared(self) -> torch.Tensor:
        """Squared norm of each group's gradient, (G,), never too small; float32 or float64."""

    def weighted_sum(self, factors: torch.Tensor) -> torch.Tensor:
        """Return the sum over groups of factor times gradient; a factor of 0 shuts a group out.

        Args:
            factors: (G,) float32, finite.
        """


@dataclass(frozen=True, slots=True)
class Kept:
    """Every group's gradient, kept."""

    name: str
    way: str
    rows: torch.Tensor  # (G, *shape of the tensor) float32

    @property
    def squared(self) -> torch.Tensor:
        """Squared norms, (G,) float32."""
        norms: torch.Tensor = torch.linalg.vector_norm(self.rows.flatten(1), dim=1)
        return norms.square()

    def weighted_sum(self, factors: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum; see ``Share``."""
        rows = without(self.rows, factors).flatten(1)
        return (factors[None] @ rows).reshape(self.rows.shape[1:])


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Only the norms and the two signals are kept; the sum is one more kernel call."""

    name: str
    way: str
    squared: torch.Tensor
    signals: tuple[torch.Tensor, torch.Tensor]  # (N, …) float32: input, gradient of the output
    grouping: Grouping
    gradient: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of both, summed over rows

    def weighted_sum(self, factors: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum; see ``Share``."""
        each = self.grouping.to_rows(factors)
        given, back = (without(signal, each) for signal in self.signals)
        return self.gradient(given, back * each.reshape(-1, *[1] * (back.ndim - 1)))


def without(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return ``rows`` with zeros where the factor is 0: 0 times NaN would be NaN."""
    if bool((factors > 0).all()):
        return rows
    return torch.where((factors > 0).reshape(-1, *[1] * (rows.ndim - 1)), rows, 0.0)
