"""Draw the patients of one private step: each on its own, with the same chance.

Poisson sampling is what the accounting assumes [1]; shuffled batches of one size are not
covered by it. The generator is passed in: seeded in a simulation, from the system's entropy
in a hospital.

References:
    [1] Mironov, Talwar, Zhang, Rényi Differential Privacy of the Sampled Gaussian
        Mechanism, 2019, definition 4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedrad.errors import PrivacyError

Rates = npt.NDArray[np.float64]


def poisson_sample(count: int, q: float | Rates, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the positions of the drawn patients, rising; none may be drawn.

    Args:
        count: Patients there are; one number is used up for each.
        q: Chance of each patient, in (0, 1]; an array (count,) gives each its own.
        rng: Where chance comes from.

    Raises:
        PrivacyError: A chance is not in (0, 1].
    """
    if not is_rate(q):
        raise PrivacyError(f"the sampling rate must lie in (0, 1], got {q}; see the contract")
    return np.flatnonzero(rng.random(count) < q).astype(np.int64)


def is_rate(q: float | Rates) -> bool:
    """Whether every chance lies in (0, 1]."""
    chances = np.asarray(q)
    return bool(((chances > 0) & (chances <= 1)).all())
