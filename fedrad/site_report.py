"""Noise a site's sums as one joint Gaussian mechanism: what may leave after an evaluation.

Each block has a public share of the one release. Divide block b by its sensitivity and
multiply by the square root of its share: one patient then moves all blocks together by at
most 1 in L2 norm, since the shares sum to 1, and noise of standard deviation ``sigma`` on
that scale is a Gaussian mechanism with noise multiplier ``sigma``. On the block's own
scale this is noise of sigma × sensitivity / √share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType

import numpy as np

from fedrad.errors import PrivacyError
from fedrad.privacy.mechanisms import gaussian, rounded
from fedrad.protocol.messages import Block

CLASSIFICATION: Mapping[str, float] = MappingProxyType(
    {"n": 0.06, "positives": 0.10, "operating": 0.24, "table": 0.60}
)
SEGMENTATION: Mapping[str, float] = MappingProxyType(
    {"n": 0.10, "dice_histogram": 0.55, "dice_sum": 0.35}
)
FEASIBILITY: Mapping[str, float] = MappingProxyType({"patients": 0.6, "vendors": 0.2, "views": 0.2})
WINDOW: Mapping[str, float] = MappingProxyType(
    {
        "n": 0.03,
        "positives": 0.17,
        "operating": 0.13,
        "table": 0.24,
        "moments": 0.26,
        "tags": 0.09,
        "population": 0.08,
    }
)
WINDOW_IMAGES: Mapping[str, float] = MappingProxyType(
    {"seen": 0.05, "scores": 0.37, "moments": 0.34, "tags": 0.14, "population": 0.10}
)
WINDOW_LABELS: Mapping[str, float] = MappingProxyType(
    {"labelled": 0.06, "positives": 0.28, "operating": 0.22, "table": 0.44}
)
WINDOW_OUTLINES: Mapping[str, float] = MappingProxyType(
    {
        "n": 0.04,
        "dice_histogram": 0.24,
        "dice_sum": 0.16,
        "nsd_histogram": 0.12,
        "hd95_histogram": 0.07,
        "moments": 0.22,
        "tags": 0.08,
        "population": 0.07,
    }
)
CONTENTS: Mapping[str, float] = MappingProxyType({"contents": 0.12})
"""Of a window's release where the task asks for what images show; taken from all others alike."""
EXTRAS: Mapping[str, float] = MappingProxyType({"extras": 0.06})
"""Of a window of CT or MR, taken likewise."""
COMPARISON_OUTLINES: Mapping[str, float] = MappingProxyType(
    {"dice_change": 0.8, "dice_square": 0.1, "cases": 0.1}
)
COMPARISON: Mapping[str, float] = MappingProxyType({"disagreement": 0.9, "labels": 0.1})


STRATA: Mapping[str, float] = MappingProxyType({"strata": 0.10})
"""Of a release of labels where the task asks for subgroups; taken likewise."""


def enlarged(shares: Mapping[str, float], more: Mapping[str, float]) -> Mapping[str, float]:
    """Return shares with further blocks, whose part the others give in proportion."""
    rest = 1.0 - sum(more.values())
    return MappingProxyType({name: rest * share for name, share in shares.items()} | dict(more))


BESIDE: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        **{name: ("moments", share) for name, share in (*CONTENTS.items(), *EXTRAS.items())},
        **{name: ("table", share) for name, share in STRATA.items()},
    }
)
"""What a release may have further: the block that it stands beside, and its share."""


def further(shares: Mapping[str, float]) -> Iterator[Mapping[str, float]]:
    """Yield every choice of one or more further blocks that a kind of release may have."""
    fitting = [name for name, (beside, _) in BESIDE.items() if beside in shares]
    for size in range(1, len(fitting) + 1):
        for names in combinations(fitting, size):
            yield {name: BESIDE[name][1] for name in names}


KINDS = (
    CLASSIFICATION,
    SEGMENTATION,
    FEASIBILITY,
    WINDOW,
    WINDOW_IMAGES,
    WINDOW_LABELS,
    WINDOW_OUTLINES,
    *(
        enlarged(kind, more)
        for kind in (WINDOW, WINDOW_IMAGES, WINDOW_LABELS, WINDOW_OUTLINES)
        for more in further(kind)
    ),
    COMPARISON,
    COMPARISON_OUTLINES,
)


def shares_of(blocks: Sequence[Block]) -> Mapping[str, float]:
    """Return the public shares of the kind of report that these blocks make.

    Raises:
        PrivacyError: They are no known report, so no sensitivity was worked out for them;
            the block ``exact`` has no noise that would do.
    """
    names = sorted(block.name for block in blocks)
    for shares in KINDS:
        if names == sorted(shares):
            return shares
    raise PrivacyError(f"no shares are agreed for a report of {', '.join(names) or 'nothing'}")


def deviation(block: Block, *, sigma: float, share: float) -> float:
    """Return the standard deviation of the noise on each value of a block."""
    return sigma * block.sensitivity / math.sqrt(share)


def noised(blocks: Sequence[Block], *, sigma: float, rng: np.random.Generator) -> tuple[Block, ...]:
    """Add the noise of one Gaussian release with noise multiplier ``sigma``.

    Args:
        blocks: Exact sums of one kind of report, all of them.
        sigma: The noise multiplier of the whole release; greater than 0.
        rng: ``mechanisms.noise_source()``; nothing else in a hospital.

    Returns:
        The blocks in their order, values rounded to a public grid of 2^-10, ``sigma`` the
        standard deviation of what was added.

    Raises:
        PrivacyError: Unknown blocks, blocks noised before, or no noise asked for.
    """
    shares = shares_of(blocks)
    if any(block.sigma != 0 for block in blocks):
        raise PrivacyError("these sums carry noise already; noise the exact ones once")
    return tuple(
        _noised(block, deviation(block, sigma=sigma, share=shares[block.name]), rng)
        for block in blocks
    )


def _noised(block: Block, sigma: float, rng: np.random.Generator) -> Block:
    return replace(block, values=rounded(gaussian(block.values, sigma, rng=rng)), sigma=sigma)
