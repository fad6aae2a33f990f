"""Add the noise that makes a sum of clipped gradients private.

Where the noise comes from is ``fedrad.privacy.mechanisms``; what it costs is
``fedrad.privacy.accounting``.
"""

from __future__ import annotations

import numpy as np
import torch

from fedrad.privacy.mechanisms import gaussian
from site_client.training.gradients import GradientSum, Tensors


def noised_mean(
    clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
) -> Tensors:
    """Return (sum + noise) / divisor, tensor by tensor [1].

    Noise is drawn and added in float64, because the coarse grid of float32 normals shows
    through the sum; the result has the dtype of the sum.

    Args:
        clipped: Bounded by ``max_norm`` per patient.
        rng: From ``noise_source``; its numbers are used up in the order of the tensors.
        std: Of the noise on every element of the sum: sigma times ``max_norm``.
        divisor: The expected number of patients of a step: public, never the drawn number.

    Raises:
        PrivacyError: ``std`` is not a finite number above 0.

    References:
        [1] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, algorithm 1.
    """
    noised: Tensors = {}
    for name, tensor in clipped.total.items():
        exact = tensor.double().numpy()
        noisy = gaussian(exact, std, rng=rng) / divisor
        noised[name] = torch.from_numpy(noisy).to(tensor.dtype)
    return noised
