"""Fast normals are normal, belong to one key, and are handed out once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from fedrad.privacy.normals import BATCH, Normals

KEY = bytes(range(32))
FALSE_ALARM = 1e-6  # of each test on a random key; these keys are fixed


def drawn(count: int, key: bytes = KEY, sizes: tuple[int, ...] = (BATCH,)) -> np.ndarray:
    """Take ``count`` numbers, at most ``sizes`` at a time, over and over."""
    normals, parts, most = Normals(key), [], itertools.cycle(sizes)
    while count > 0:
        parts.append(normals.take(min(count, next(most))).copy())
        count -= len(parts[-1])
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def million() -> np.ndarray:
    return drawn(4_000_000)


def test_every_range_of_equal_chance_is_hit_equally_often(million: np.ndarray) -> None:
    """5,000 ranges are narrower than most strips, so a wrong edge of one would show."""
    found, _ = np.histogram(norm.cdf(million), bins=5000, range=(0, 1))
    expected = len(million) / 5000
    assert chi2.sf(((found - expected) ** 2 / expected).sum(), 4999) > FALSE_ALARM


def test_the_tail_is_that_of_the_normal(million: np.ndarray) -> None:
    """Beyond 4.04 another method takes over from the strips."""
    for edge in (3.9, 4.1):
        beyond = np.abs(million[np.abs(million) > edge])
        expected = len(million) * 2 * norm.sf(edge)
        assert abs(len(beyond) - expected) < 5 * np.sqrt(expected)
        assert kstest(norm.sf(beyond) / norm.sf(edge), "uniform").pvalue > FALSE_ALARM


def test_moments_are_those_of_the_normal(million: np.ndarray) -> None:
    n = len(million)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        z = (np.mean(million**power) - moment) / np.sqrt(variance / n)
        assert abs(z) < 5, power


def test_neighbours_and_numbers_of_other_blocks_are_independent(million: np.ndarray) -> None:
    for lag in (1, 2, 63, 2**14, BATCH, BATCH + 1):
        z = np.dot(million[:-lag], million[lag:]) / np.sqrt(len(million) - lag)
        assert abs(z) < 5, lag


def test_no_number_is_handed_out_twice(million: np.ndarray) -> None:
    assert len(np.unique(million)) == len(million)


@given(st.lists(st.integers(1, 3 * BATCH), min_size=1, max_size=4))
def test_however_they_are_taken_they_are_the_same_numbers(sizes: list[int]) -> None:
    whole = drawn(150_000)
    assert np.array_equal(drawn(150_000, sizes=tuple(sizes)), whole)


def test_every_byte_of_the_key_counts() -> None:
    first = drawn(1000)
    for place in range(32):
        key = bytearray(KEY)
        key[place] ^= 1
        other = drawn(1000, bytes(key))
        assert not np.any(first == other)
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.2


@pytest.mark.parametrize("count", [1, 7, 2**14, BATCH - 1, 3 * BATCH])
def test_a_stream_for_few_numbers_still_gives_more(count: int) -> None:
    normals = Normals(KEY, count=count)
    taken = [normals.take(count).copy() for _ in range(3)]
    assert 1 <= min(map(len, taken)) <= max(map(len, taken)) <= count
    assert abs(np.concatenate(taken).mean()) < 5 / np.sqrt(sum(map(len, taken)))


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        Normals(b"short")
