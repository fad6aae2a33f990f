"""Add the noise that makes a sum of clipped gradients private.

Where the noise comes from is ``fedrad.privacy.mechanisms``; what it costs is
``fedrad.privacy.accounting``. The floating-point rules below are argued in
``docs/decisions/0028-noise-in-float64-on-a-grid.md``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedrad.errors import PrivacyError
from fedrad.privacy.mechanisms import KEY_BYTES
from fedrad.privacy.normals import Normals
from site_client.training.gradients import GradientSum, Tensors

ROUNDING_MARGIN = 2.0**-9  # noise beyond what was agreed; covers the float32 sum's rounding
GRID_BITS = 10  # noised sums are multiples of a power of two about 2^-10 of the deviation

_Flat = npt.NDArray[np.float32]


def noised_mean(
    clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
) -> Tensors:
    """Return (sum + noise) / divisor, tensor by tensor [1].

    Noise is drawn and added in float64, because the coarse grid of float32 normals shows
    through the sum, and the noised sum is rounded to a public grid, so that its last bits do
    not tell what the noise was added to [2]. The result has the dtype of the sum.

    Args:
        clipped: Bounded by ``max_norm`` per patient. Written over, so that no exact sum
            outlives the step.
        rng: From ``noise_source``; gives the key of this step's noise, used once.
        std: Of the noise on every element of the sum: sigma times ``max_norm``. It is
            drawn larger by ``ROUNDING_MARGIN``.
        divisor: The expected number of patients of a step: public, never the drawn number.

    Raises:
        PrivacyError: ``std`` is not a finite number above 0.

    References:
        [1] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, algorithm 1.
        [2] Mironov, On Significance of the Least Significant Bits for Differential
            Privacy, CCS 2012.
    """
    if not 0 < std < math.inf:
        raise PrivacyError(f"noise needs a deviation above 0, got {std}")
    count = sum(tensor.numel() for tensor in clipped.total.values())
    normals = Normals(rng.bytes(KEY_BYTES), count=count)
    noised: Tensors = {}
    for name, tensor in clipped.total.items():
        flat = tensor.float().reshape(-1).cpu()  # chance comes from this processor alone
        _add(normals, flat.numpy(), std=std, divisor=divisor)
        noised[name] = tensor.copy_(flat.reshape(tensor.shape))
    return noised


def grid_of(std: float) -> float:
    """Return the step of the public grid: a power of two, between std / 2048 and std / 1024."""
    return math.ldexp(1.0, math.frexp(std)[1] - 1 - GRID_BITS)


def _add(normals: Normals, sums: _Flat, *, std: float, divisor: float) -> None:
    """Replace ``sums`` by (sums + noise) / divisor, as many numbers at a time as come."""
    grid, start = grid_of(std), 0
    while start < len(sums):
        noised = normals.take(len(sums) - start)
        part = sums[start : start + len(noised)]
        part *= np.float32(1 / grid)  # exact: a power of two
        noised *= std * (1 + ROUNDING_MARGIN) / grid
        noised += part
        np.rint(noised, out=noised)
        noised *= grid / divisor
        part[:] = noised
        start += len(part)
