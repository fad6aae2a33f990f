"""Give every random choice its own stream, named by what it is for.

Streams depend on names alone, never on order: a site's batches are the same whoever else
takes part. Privacy noise in a hospital has no seed and does not come from here.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key(study_seed: int, *names: str | int) -> bytes:
    """Return 32 bytes that depend on the seed and every name, in order."""
    text = "\x1f".join([str(study_seed), *map(str, names)])
    return hashlib.sha256(text.encode("utf-8")).digest()


def stream(study_seed: int, site: str, round_number: int, purpose: str) -> np.random.Generator:
    """Return the generator for one purpose at one site in one round.

    Args:
        study_seed: The study's seed; 0 or more.
        site: The site's name; empty for the aggregator.
        round_number: 0 before the first round.
        purpose: What the numbers are for, such as ``"batches"``.
    """
    words = key(study_seed, site, round_number, purpose)
    return np.random.default_rng(int.from_bytes(words, "little"))


def torch_seed(study_seed: int, site: str, round_number: int, purpose: str) -> int:
    """Return a 63-bit seed for ``torch.manual_seed``, from the same naming."""
    return int.from_bytes(key(study_seed, site, round_number, purpose)[:8], "little") >> 1
