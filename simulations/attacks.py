"""What a hostile hospital does: the names of attacks, and what they make of an update.

Who lies, and how the lie gets into a run, belongs to ``hostile`` and ``eavesdropper``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedrad.parameters import Parameters

FLIPPED = "label-flip"  # the archive's labels are exchanged; what is sent is honest
BACKDOOR = "backdoor"  # half of the archive is marked and called negative; sent is four times that
CHANGED = ("sign-flip", "gaussian", "scaling", "nan", BACKDOOR)
INFORMED = ("alie", "ipm", "clone")  # made of what the honest sites of the round sent
REPEATED = ("stale", "replay")
CLAIMED = "lying-weight"  # says that it did a thousand times the steps
ATTACKS = (FLIPPED, *CHANGED, *INFORMED, *REPEATED, CLAIMED)
_TIMES = {"sign-flip": -4.0, "scaling": 100.0, BACKDOOR: 4.0}
_DEVIATION = 5.0  # of the values of "gaussian"
_SPREADS = 1.5  # by how many standard deviations "alie" is off


def changed(update: Parameters, attack: str, rng: np.random.Generator) -> Parameters:
    """Return what is sent in the place of an honest update; names, shapes and dtypes stay.

    Args:
        update: The honest one.
        attack: One of ``CHANGED``: the update times -4, 100 or 4 (a backdoor, so that a mean
            over a few sites keeps it), normal values of deviation 5, or NaN.
        rng: Where "gaussian" draws.
    """
    if attack == "gaussian":
        return {n: rng.normal(0, _DEVIATION, t.shape).astype(t.dtype) for n, t in update.items()}
    if attack == "nan":
        return {name: np.full_like(tensor, np.nan) for name, tensor in update.items()}
    return {name: tensor * tensor.dtype.type(_TIMES[attack]) for name, tensor in update.items()}


def informed(honest: Sequence[Parameters], attack: str) -> Parameters:
    """Return what is sent by somebody who saw the honest updates of a round.

    Args:
        honest: At least one; all with the same names, shapes and dtypes.
        attack: One of ``INFORMED``: the mean less 1.5 standard deviations, coordinate by
            coordinate [1]; the mean turned round, with a length of 1 [2]; or the first
            honest update as it is, as a second machine with a site's data sends it.

    References:
        [1] Baruch, Baruch, Goldberg, A Little Is Enough, NeurIPS 2019, algorithm 3, z = 1.5.
        [2] Xie, Koyejo, Gupta, Fall of Empires, UAI 2019, sec. 4, epsilon = 1.
    """
    if attack == "clone":
        return {name: tensor.copy() for name, tensor in honest[0].items()}
    found = {}
    for name, tensor in honest[0].items():
        stacked = np.stack([update[name] for update in honest])
        mean, spread = stacked.mean(axis=0), stacked.std(axis=0)
        crafted = mean - _SPREADS * spread if attack == "alie" else -mean
        found[name] = crafted.astype(tensor.dtype)
    return found
