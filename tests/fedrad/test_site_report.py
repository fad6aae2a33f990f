"""What leaves a site carries the noise that it says, joint over all blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedrad.errors import PrivacyError
from fedrad.metrics import classification, segmentation
from fedrad.metrics.classification import exact_block
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.site_report import CLASSIFICATION, SEGMENTATION, noised, shares_of

EDGES = tuple(float(edge) for edge in np.linspace(0, 1, 11))


def report() -> tuple[Block, ...]:
    scores, labels = np.linspace(0, 1, 40), np.arange(40) % 2
    return classification.blocks(scores, labels, edges=EDGES, operating_point=0.5)


def test_the_shares_of_each_kind_sum_to_one_release() -> None:
    """Noise and sensitivity then add up to one Gaussian mechanism of the stated sigma."""
    cases = segmentation.blocks([0.5], [False], edges=EDGES)
    for shares, blocks in ((CLASSIFICATION, report()), (SEGMENTATION, cases)):
        assert shares_of(blocks) == shares
        assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
        noisy = noised(blocks, sigma=2.5, rng=noise_source())
        precision = sum(b.sensitivity**2 / b.sigma**2 for b in noisy)
        assert precision**-0.5 == pytest.approx(2.5)


def test_each_block_has_the_noise_that_it_says() -> None:
    exact, rng = report(), noise_source(bytes(32))
    drawn = [noised(exact, sigma=3.0, rng=rng) for _ in range(1500)]
    for index, block in enumerate(exact):
        noise = np.concatenate([d[index].values - block.values for d in drawn])
        stated = drawn[0][index].sigma
        assert noise.std() == pytest.approx(stated, rel=4 / math.sqrt(2 * len(noise)))
        assert abs(noise.mean()) < 4 * stated / math.sqrt(len(noise))


def test_blocks_and_values_carry_independent_noise() -> None:
    exact, rng = report(), noise_source(bytes(32))
    noise = np.array(
        [
            np.concatenate([b.values for b in noised(exact, sigma=1.0, rng=rng)])
            - np.concatenate([b.values for b in exact])
            for _ in range(1500)
        ]
    )
    others = np.corrcoef(noise.T) - np.eye(noise.shape[1])
    assert np.abs(others).max() < 5 / math.sqrt(1500)


def test_names_order_and_exact_sums_are_left_alone() -> None:
    exact = report()
    before = [block.values.copy() for block in exact]
    noisy = noised(exact, sigma=1.0, rng=noise_source())
    assert [b.name for b in noisy] == [b.name for b in exact]
    assert all(np.array_equal(a, b.values) for a, b in zip(before, exact, strict=True))


def test_sums_are_never_noised_twice() -> None:
    once = noised(report(), sigma=1.0, rng=noise_source())
    with pytest.raises(PrivacyError, match="carry noise already"):
        noised(once, sigma=1.0, rng=noise_source())


def test_exact_values_and_partial_reports_cannot_be_noised() -> None:
    with pytest.raises(PrivacyError, match="no shares are agreed"):
        noised((*report(), exact_block([0.1, 0.9], [0, 1])), sigma=1.0, rng=noise_source())
    with pytest.raises(PrivacyError, match="no shares are agreed"):
        noised(report()[:2], sigma=1.0, rng=noise_source())


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_a_release_without_noise_is_refused(sigma: float) -> None:
    with pytest.raises(PrivacyError, match="deviation above 0"):
        noised(report(), sigma=sigma, rng=noise_source())
