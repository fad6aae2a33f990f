"""Is what a site says of itself believable, given what all others say: leave-one-out prediction.

A model that does well at every other hospital rarely does far better or worse at one. The others'
values, each with its own interval, predict where the next hospital's lies (random effects:
hospitals do differ). A claim outside is contradicted, which is a note and never an alarm: a
hospital may be special, its release may be unlucky, or it may not say the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from fedrad.metrics.metric import Z

FEWEST_OTHERS = 3
LEVEL = 0.05  # that any claim of an honest federation is contradicted, over all that are looked at
METRICS = {"auroc": "AUROC", "sensitivity": "sensitivity", "dice_mean": "mean Dice"}

Interval = tuple[float, float, float]  # value, lo, hi at 95 %


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A site's claim that the others' values do not bear out."""

    site: str
    window: str
    metric: str
    value: float
    low: float  # of the prediction
    high: float


def contradicted(
    claims: Mapping[tuple[str, str], Mapping[str, Interval]],
) -> Iterator[Contradiction]:
    """Yield every claim that lies outside of what the other sites predict.

    Args:
        claims: For each (metric, window) the sites' values with their intervals.
    """
    looked = sum(len(sites) for sites in claims.values() if len(sites) > FEWEST_OTHERS)
    for (metric, window), sites in sorted(claims.items()):
        for site in sorted(sites) if len(sites) > FEWEST_OTHERS else ():
            others = [sites[name] for name in sorted(sites) if name != site]
            low, high = predicted(others, sites[site], level=LEVEL / looked)
            if not low <= sites[site][0] <= high:
                yield Contradiction(site, window, metric, sites[site][0], low, high)


def predicted(others: list[Interval], own: Interval, *, level: float) -> tuple[float, float]:
    """Return where a site's released value lies with probability 1 - ``level``, by the others.

    The variance between sites is DerSimonian and Laird's [1]; the interval is that of a new site
    [2], with the error of its own release added.

    References:
        [1] DerSimonian and Laird, Meta-analysis in Clinical Trials, 1986.
        [2] Higgins, Thompson and Spiegelhalter, A Re-evaluation of Random-effects Meta-analysis,
            JRSS A 2009, section 4.2.
    """
    values = np.array([value for value, _, _ in others])
    errors = np.array([_variance(one) for one in others])
    fixed = 1 / errors
    mean = float(fixed @ values / fixed.sum())
    spread = float(fixed @ np.square(values - mean))
    scale = float(fixed.sum() - np.square(fixed).sum() / fixed.sum())
    between = max(0.0, (spread - (len(others) - 1)) / scale)
    weights = 1 / (errors + between)
    middle = float(weights @ values / weights.sum())
    variance = between + 1 / float(weights.sum()) + _variance(own)
    half = float(student.isf(level / 2, max(len(others) - 2, 1))) * math.sqrt(variance)
    return middle - half, middle + half


def _variance(claim: Interval) -> float:
    return max((claim[2] - claim[1]) / (2 * Z), 1e-3) ** 2
