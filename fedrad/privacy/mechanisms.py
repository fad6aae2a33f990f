"""Draw the noise of the Gaussian mechanism from a generator that nobody can predict.

How much noise is enough is ``accounting``'s business; what it is added to belongs to the
callers. A hospital's generator is keyed by the operating system and its key is never
stored; a simulation may hand a key in, so that a run can be repeated.
"""

from __future__ import annotations

import os
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fedrad.errors import PrivacyError

KEY_BYTES = 32
GRID = 2.0**-10  # released sums are rounded to multiples of this

Real = TypeVar("Real", np.float32, np.float64)


def noise_source(key: bytes | None = None) -> np.random.Generator:
    """Return a generator over ChaCha with 20 rounds, a cryptographic stream cipher [1].

    Args:
        key: 32 bytes, in a simulation only; absent: 32 bytes of the operating system.

    Raises:
        PrivacyError: The key is not 32 bytes.

    References:
        [1] Bernstein, ChaCha, a variant of Salsa20, 2008.
    """
    from randomgen import ChaCha

    words = os.urandom(KEY_BYTES) if key is None else key
    if len(words) != KEY_BYTES:
        raise PrivacyError(f"a noise key must be {KEY_BYTES} bytes, got {len(words)}")
    return np.random.Generator(ChaCha(key=int.from_bytes(words, "little"), rounds=20))


def gaussian(
    values: npt.NDArray[Real], deviation: float, *, rng: np.random.Generator
) -> npt.NDArray[Real]:
    """Return ``values`` plus independent normal noise, in the dtype of ``values``.

    Args:
        values: Exact sums of any shape.
        deviation: Standard deviation of the noise, in the unit of ``values``; above 0.
        rng: ``noise_source()`` wherever the values are a patient's.

    Raises:
        PrivacyError: The deviation is not a finite number above 0.
    """
    if not 0 < deviation < float("inf"):
        raise PrivacyError(f"noise needs a deviation above 0, got {deviation}")
    noise = rng.standard_normal(values.shape, dtype=values.dtype.type)
    return (values + noise * values.dtype.type(deviation)).astype(values.dtype, copy=False)


def rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round released sums to a public grid, so that their last bits say nothing.

    The low-order bits of a floating-point sum depend on what was added to the noise [1];
    rounding afterwards removes them and costs no privacy.

    References:
        [1] Mironov, On Significance of the Least Significant Bits for Differential
            Privacy, CCS 2012.
    """
    return np.round(values / GRID) * GRID
