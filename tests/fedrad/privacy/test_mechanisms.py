"""Noise is of the size that was asked for, and nobody can predict it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from scipy.stats import kstest

from fedrad.errors import PrivacyError
from fedrad.privacy.mechanisms import GRID, gaussian, noise_source, rounded


def test_noise_is_normal_with_the_deviation_asked_for() -> None:
    noise = gaussian(np.zeros(20_000), 3.0, rng=noise_source(bytes(32)))
    assert noise.std() == pytest.approx(3.0, rel=0.03)
    assert kstest(noise / 3.0, "norm").pvalue > 1e-3


def test_two_hospital_sources_never_agree() -> None:
    first, second = (noise_source().standard_normal(1000) for _ in range(2))
    assert not np.any(first == second)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2


def test_the_source_is_the_chacha20_of_openssl() -> None:
    """Another implementation of the same cipher, all 20 rounds, gives the same bits."""
    key = bytes(range(100, 132))
    theirs = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    ours = np.asarray(noise_source(key).bit_generator.random_raw(512), dtype="<u8").tobytes()
    assert ours == theirs.update(bytes(4096))


def test_no_seed_of_the_process_reaches_a_hospital_source() -> None:
    drawn = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002  # what must have no effect
        torch.manual_seed(1)
        drawn.append(noise_source().standard_normal(16))
    assert not np.any(drawn[0] == drawn[1])


def test_a_simulation_repeats_its_noise_and_every_bit_of_the_key_counts() -> None:
    key = bytes(range(32))
    changed = key[:31] + bytes([key[31] ^ 1])
    again = noise_source(key).standard_normal(8)
    assert np.array_equal(noise_source(key).standard_normal(8), again)
    assert not np.array_equal(noise_source(changed).standard_normal(8), again)


def test_noise_keeps_the_dtype_and_leaves_the_sums_alone() -> None:
    sums = np.ones((2, 3), dtype=np.float32)
    noised = gaussian(sums, 1.0, rng=noise_source())
    assert noised.dtype == np.float32
    assert np.array_equal(sums, np.ones((2, 3)))


def test_released_sums_lie_on_the_public_grid() -> None:
    values = rounded(np.array([0.1, -7.33333, 1e6 + 1e-7]))
    assert np.array_equal(values, np.round(values / GRID) * GRID)
    assert np.abs(values - [0.1, -7.33333, 1e6]).max() <= GRID / 2


@pytest.mark.parametrize("deviation", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_without_a_size_is_refused(deviation: float) -> None:
    with pytest.raises(PrivacyError, match="deviation above 0"):
        gaussian(np.zeros(2), deviation, rng=noise_source())


def test_a_short_key_is_refused() -> None:
    with pytest.raises(PrivacyError, match="32 bytes, got 4"):
        noise_source(b"1234")
