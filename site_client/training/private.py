"""Add the noise that makes a sum of clipped gradients private.

The noise comes from ChaCha20 with a 256-bit key, since the seed of torch's generator is
only 32 bits on the CPU and could be tried out. In a hospital the key is the system's
entropy and is kept nowhere; a simulation passes keys so that a run can be repeated.
Accounting belongs to ``fedrad.privacy``.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from randomgen import ChaCha

from fedrad.errors import PrivacyError
from site_client.training.gradients import GradientSum, Tensors

KEY_BYTES = 32
DRAWS = 4  # normals per noise value [1]


def noise_generator(key: bytes | None) -> np.random.Generator:
    """Return a ChaCha20 generator.

    Args:
        key: 32 bytes, for simulations; None takes fresh bytes from the operating system.

    Raises:
        PrivacyError: The key is not 32 bytes long.
    """
    secret = os.urandom(KEY_BYTES) if key is None else key
    if len(secret) != KEY_BYTES:
        raise PrivacyError(f"a noise key has {KEY_BYTES} bytes, got {len(secret)}")
    return np.random.Generator(ChaCha(key=int.from_bytes(secret, "little"), rounds=20))


def noised_mean(
    clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
) -> Tensors:
    """Return (sum + noise) / divisor, tensor by tensor [2].

    Args:
        clipped: Bounded by ``max_norm`` per patient.
        rng: From ``noise_generator``; its numbers are used up in the order of the tensors.
        std: Of the noise on every element of the sum: sigma times ``max_norm``.
        divisor: The expected number of patients of a step: public, never the drawn number.

    References:
        [2] Abadi et al., Deep Learning with Differential Privacy, CCS 2016, algorithm 1.
    """
    return {
        name: (tensor + std * _normals(tensor.shape, rng).to(tensor.dtype)) / divisor
        for name, tensor in clipped.total.items()
    }


def _normals(shape: torch.Size, rng: np.random.Generator) -> torch.Tensor:
    """Draw N(0, 1), each the sum of several normals, which hides their floating-point grid.

    References:
        [1] Holohan and Braghin, Secure Random Sampling in Differential Privacy, ESORICS
            2021, sec. 4.
    """
    drawn = rng.standard_normal((DRAWS, *shape)).sum(axis=0) / np.sqrt(DRAWS)
    return torch.from_numpy(np.asarray(drawn))
