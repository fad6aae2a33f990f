"""What a hostile hospital does: the names of attacks, and what they make of an update."""

from __future__ import annotations

import numpy as np

from fedrad.parameters import Parameters

FLIPPED = "label-flip"  # the archive's labels are exchanged; what is sent is honest
CHANGED = ("sign-flip", "gaussian", "scaling", "nan")
REPEATED = ("stale", "replay")
ATTACKS = (FLIPPED, *CHANGED, *REPEATED)
_TIMES = {"sign-flip": -4.0, "scaling": 100.0}
_DEVIATION = 5.0  # of the values of "gaussian"


def changed(update: Parameters, attack: str, rng: np.random.Generator) -> Parameters:
    """Return what is sent in the place of an honest update; names, shapes and dtypes stay.

    Args:
        update: The honest one.
        attack: One of ``CHANGED``: the update times -4 or 100, normal values of deviation 5,
            or NaN.
        rng: Where "gaussian" draws.
    """
    if attack == "gaussian":
        return {n: rng.normal(0, _DEVIATION, t.shape).astype(t.dtype) for n, t in update.items()}
    if attack == "nan":
        return {name: np.full_like(tensor, np.nan) for name, tensor in update.items()}
    return {name: tensor * tensor.dtype.type(_TIMES[attack]) for name, tensor in update.items()}
