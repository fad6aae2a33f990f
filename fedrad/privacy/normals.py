"""Turn a secret key into standard normal numbers, fast enough for millions at every step.

Bits come from AES-256 in counter mode as OpenSSL computes it [1], normals from a ziggurat in
float64 [2] that works on blocks which stay in the processor's cache. Where the key comes from
belongs to ``mechanisms``; how large the noise must be, to ``accounting``.

References:
    [1] Dworkin, Recommendation for Block Cipher Modes of Operation, NIST SP 800-38A, 6.5.
    [2] Marsaglia and Tsang, The Ziggurat Method for Generating Random Variables, 2000.
    [3] Marsaglia, Generating a Variable from the Tail of the Normal Distribution, 1964.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]

BLOCK = 2**14  # numbers worked on at a time; their buffers fit the cache
BATCH = 2**17  # numbers made before any is handed out
STRIPS = 1024  # of equal area; a word's lowest 10 bits choose one


class Normals:
    """Independent standard normal numbers, a function of the key and ``count`` alone.

    One key is for one object, one object for one thread. A number is handed out once.
    """

    def __init__(self, key: bytes, *, count: int = BATCH) -> None:
        """Begin the stream of ``key``, 32 bytes that nothing else uses.

        Args:
            key: From ``mechanisms.noise_source``.
            count: About how many numbers will be taken; more may be.
        """
        self._bits = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        self._keystream = bytearray(8 * BLOCK + 15)  # OpenSSL asks for a block less one more
        self._strip = np.empty(BLOCK, np.int64)
        self._aside, self._outside = np.empty(BLOCK), np.empty(BLOCK, np.bool_)
        self._batch = np.empty(min(max(count, 1), BATCH))
        self._used = len(self._batch)

    def take(self, most: int) -> Floats:
        """Return the next numbers, between 1 and ``most`` of them, float64.

        They lie in a buffer that the caller may write to and that later calls reuse.

        Args:
            most: 1 or more; ask again until there are enough.
        """
        if self._used == len(self._batch):
            self._fill(self._batch)
            self._used = 0
        taken = self._batch[self._used : self._used + most]
        self._used += len(taken)
        return taken

    def _fill(self, out: Floats) -> None:
        """Write normals to ``out`` [2]: the cores of the strips first, then the few others."""
        places, strips = [], []
        for start in range(0, len(out), BLOCK):
            part = out[start : start + BLOCK]
            rest = self._fill_cores(part)
            places.append(rest + start)
            strips.append(self._strip[rest])
        where = np.concatenate(places)
        if len(where):
            out[where] = self._decided(out[where], np.concatenate(strips))

    def _fill_cores(self, out: Floats) -> npt.NDArray[np.intp]:
        """Write a point of a random strip to each place; return where it is not in the core."""
        count = len(out)
        words, strip = self._words(count), self._strip[:count]
        aside, outside = self._aside[:count], self._outside[:count]
        np.bitwise_and(words, STRIPS - 1, out=strip)  # 10 bits that a float64 of them rounds off
        _WIDTHS.take(strip, out=aside, mode="clip")
        np.copyto(out, words)
        np.multiply(out, aside, out=out)
        _CORES.take(strip, out=aside, mode="clip")
        size = np.abs(out, out=words.view(np.float64))  # the words were used
        np.greater_equal(size, aside, out=outside)
        return np.flatnonzero(outside)

    def _decided(self, values: Floats, strips: Words) -> Floats:
        """Keep, or draw anew, the 0.4 % that lie outside the core of their strip."""
        low, high = _TOPS[strips], _TOPS[strips + 1]
        heights = low + self._uniforms(len(values)) * (high - low)
        in_tail = strips == 0
        again = np.flatnonzero((heights >= np.exp(-0.5 * values**2)) & ~in_tail)
        tail = np.flatnonzero(in_tail)
        values[tail] = np.copysign(self._tail(len(tail)), values[tail])
        if len(again):
            fresh = np.empty(len(again))
            self._fill(fresh)
            values[again] = fresh
        return values

    def _tail(self, count: int) -> Floats:
        """Return ``count`` normals above ``_START`` [3]."""
        found = np.empty(0)
        while len(found) < count:
            beyond = -np.log(self._uniforms(count)) / _START
            kept = -2 * np.log(self._uniforms(count)) > beyond**2
            found = np.concatenate([found, _START + beyond[kept]])
        return found[:count]

    def _uniforms(self, count: int) -> Floats:
        """Return multiples of 2^-53 in (0, 1]."""
        found = np.empty(count)
        for start in range(0, count, BLOCK):
            words = self._words(min(BLOCK, count - start))
            found[start : start + BLOCK] = words.view(np.uint64) >> np.uint64(11)
        return (found + 1) * 2.0**-53

    def _words(self, count: int) -> Words:
        """Return up to ``BLOCK`` fresh 64-bit words; the next call writes over them."""
        self._bits.update_into(_ZEROS[: 8 * count], self._keystream)
        return np.frombuffer(self._keystream, "<i8", count)


def _edges() -> Floats:
    """Return the edges of the strips, falling, (STRIPS + 1,) [2].

    Strip i is ``edges[i]`` wide, its core ``edges[i + 1]``. The base strip holds the tail:
    it is given the width that a rectangle of its area would have.
    """
    height = math.exp(-0.5 * _START**2)
    area = _START * height + math.sqrt(math.pi / 2) * math.erfc(_START / math.sqrt(2))
    edges = [area / height, _START]
    while len(edges) < STRIPS:
        top = math.exp(-0.5 * edges[-1] ** 2) + area / edges[-1]
        edges.append(math.sqrt(-2 * math.log(top)))
    return np.array([*edges, 0.0])


_START = 4.038849846109504  # where the tail begins: solves that 1024 strips end at the top [2]
_ZEROS = memoryview(bytes(8 * BLOCK))
_EDGES = _edges()
_WIDTHS, _CORES = _EDGES[:-1] * 2.0**-63, _EDGES[1:]
_TOPS = np.exp(-0.5 * _EDGES**2)
