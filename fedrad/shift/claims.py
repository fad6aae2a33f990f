"""Is what a site says of itself believable, given what all others say: leave-one-out prediction.

A model that does well at every other hospital rarely does far better or worse at one. The others'
values, each with its own interval, predict where the next hospital's lies (random effects:
hospitals do differ). A claim outside is contradicted, which is a note and never an alarm: a
hospital may be special, its release may be unlucky, or it may not say the truth.

Three others say next to nothing of how much hospitals differ, so what is usual, a public number,
counts beside what they say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from fedrad.metrics.metric import Z

FEWEST_OTHERS = 3
LEVEL = 0.05  # that any claim of one window of an honest federation is contradicted
USUAL = 0.05  # deviation between honest hospitals, of any of the metrics
WORTH = 4  # degrees of freedom that it counts for: a deviation of .03 to .14 is likely
METRICS = {"auroc": "AUROC", "sensitivity": "sensitivity", "dice_mean": "mean Dice"}

Floats = npt.NDArray[np.float64]
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
    enough = {key: sites for key, sites in claims.items() if len(sites) > FEWEST_OTHERS}
    looked: Counter[str] = Counter()
    for (_, window), sites in enough.items():
        looked[window] += len(sites)
    for (metric, window), sites in sorted(enough.items()):
        for site in sorted(sites):
            others = [sites[name] for name in sorted(sites) if name != site]
            low, high = predicted(others, sites[site], level=LEVEL / looked[window])
            if not low <= sites[site][0] <= high:
                yield Contradiction(site, window, metric, sites[site][0], low, high)


def predicted(others: list[Interval], own: Interval, *, level: float) -> tuple[float, float]:
    """Return where a site's released value lies with probability 1 - ``level``, by the others.

    The variance between sites is DerSimonian and Laird's [1], drawn towards the usual one as its
    degrees of freedom say [3]; the interval is that of a new site [2], with the error of its own
    release added.

    References:
        [1] DerSimonian and Laird, Meta-analysis in Clinical Trials, 1986.
        [2] Higgins, Thompson and Spiegelhalter, A Re-evaluation of Random-effects Meta-analysis,
            JRSS A 2009, section 4.2.
        [3] Smyth, Linear Models and Empirical Bayes Methods for Assessing Differential
            Expression, Statistical Applications in Genetics and Molecular Biology 3, 2004,
            section 4: a variance of d degrees of freedom and a prior one of d0 give
            (d0 s0² + d s²) / (d0 + d), of d0 + d.
    """
    values = np.array([value for value, _, _ in others])
    errors = np.array([_variance(one) for one in others])
    between = _between(values, errors)
    weights = 1 / (errors + between)
    middle = float(weights @ values / weights.sum())
    variance = between + 1 / float(weights.sum()) + _variance(own)
    half = float(student.isf(level / 2, WORTH + len(others) - 1)) * math.sqrt(variance)
    return middle - half, middle + half


def _between(values: Floats, errors: Floats) -> float:
    """Return the variance between sites from (sites,) values and variances of their errors."""
    fixed, told = 1 / errors, len(values) - 1
    mean = float(fixed @ values / fixed.sum())
    spread = float(fixed @ np.square(values - mean))
    scale = float(fixed.sum() - np.square(fixed).sum() / fixed.sum())
    return (WORTH * USUAL**2 + told * max(0.0, (spread - told) / scale)) / (WORTH + told)


def _variance(claim: Interval) -> float:
    return max((claim[2] - claim[1]) / (2 * Z), 1e-3) ** 2
