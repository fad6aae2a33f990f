"""The number format of signals in a network; losses, gradients and norms are always float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def signals_in(precision: torch.dtype, place: torch.device) -> AbstractContextManager[Any]:
    """Return in what a network's forward pass runs: as it is in float32, else in autocast."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(place.type, precision)
