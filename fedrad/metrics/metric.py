"""One number about a model at a site, with the interval that it deserves.

What is computed from which sums belongs to ``classification`` and ``segmentation``. A
metric whose sums cannot carry it says so by having no value: a wide interval around a
confident number misleads more than a dash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedrad.protocol.messages import Block

WIDEST = 0.25  # half-width of an interval beyond which nothing is claimed
SMALLEST_SHOWN = 10
_NUMBERS = ("n", "labelled", "labels", "cases")  # say how many patients a release is of
WIDEST_RATIO = 1.0  # width of a ratio's interval, in its own size where that is over 1
LOW_IS_GOOD = frozenset({"failure_rate", "brier", "ece", "hd95_p50"})
BEST_AT_ONE = frozenset({"oe_ratio", "calibration_slope", "temperature"})
NOT_A_SCORE = frozenset({"n", "prevalence"})  # no site is best or worst at these
Z = 1.959963984540054  # two-sided 95 % of the normal distribution

Method = Literal["exact", "private"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A value with its 95 % interval; all three are ``None`` where it is not estimable.

    ``n`` is the estimated number of patients behind it; ``method`` says whether its sums
    carried noise.
    """

    name: str
    value: float | None
    lo: float | None
    hi: float | None
    n: float
    method: Method

    @property
    def estimable(self) -> bool:
        """Whether the sums can carry a value."""
        return self.value is not None


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % interval, before it is known whether it can be shown."""

    value: float
    lo: float
    hi: float


def share_metric(name: str, found: Interval, *, n: float, method: Method) -> Metric:
    """Return a metric of the range [0, 1], cut to it, or one that is not estimable."""
    lo, hi = max(0.0, found.lo), min(1.0, found.hi)
    if not math.isfinite(found.value + lo + hi) or hi - lo > 2 * WIDEST or hi < lo:
        return Metric(name=name, value=None, lo=None, hi=None, n=max(0.0, n), method=method)
    value = min(max(found.value, 0.0), 1.0)
    return Metric(
        name=name, value=value, lo=min(lo, value), hi=max(hi, value), n=max(0.0, n), method=method
    )


def ratio_metric(name: str, found: Interval, *, n: float, method: Method) -> Metric:
    """Return a metric that is best at 1 and has no upper end, or one that is not estimable."""
    widest = WIDEST_RATIO * max(1.0, abs(found.value))
    if not math.isfinite(found.value + found.lo + found.hi) or found.hi - found.lo > widest:
        return Metric(name=name, value=None, lo=None, hi=None, n=max(0.0, n), method=method)
    lo, hi = min(found.lo, found.value), max(found.hi, found.value)
    return Metric(name=name, value=found.value, lo=lo, hi=hi, n=max(0.0, n), method=method)


def count_metric(value: float, spread: float, *, method: Method) -> Metric:
    """Return the metric ``n``: patients, give or take ``spread``; not estimable if not finite."""
    if not math.isfinite(value + spread):
        return Metric(name="n", value=None, lo=None, hi=None, n=0.0, method=method)
    lo, hi = value - spread, value + spread
    return Metric(name="n", value=value, lo=lo, hi=hi, n=value, method=method)


def percentiles(value: float, draws: npt.NDArray[np.float64]) -> Interval:
    """Return the 2.5 % and 97.5 % points of bootstrap draws; NaN if over 1 % are NaN."""
    kept = draws[~np.isnan(draws)]
    if len(kept) < 0.99 * len(draws) or not len(draws):
        return Interval(value, math.nan, math.nan)
    lo, hi = np.quantile(kept, (0.025, 0.975))
    return Interval(value, float(lo), float(hi))


def proportion(part: float, whole: float, noise_variance: float) -> Interval:
    """Return part / whole with an interval for sampling and noise together.

    Wilson's interval [1] solves (p̂ - p)² = z² p (1 - p) / n for p; the variance of the
    privacy noise in p̂ is added on the right. Without noise it is Wilson's own.

    Args:
        part: Estimated count, possibly below 0.
        whole: Estimated count; 0 or less: NaN.
        noise_variance: Variance of p̂ that comes from the noise alone.

    References:
        [1] Wilson, Probable Inference, JASA 1927.
    """
    if not whole > 0:
        return Interval(math.nan, math.nan, math.nan)
    share, spread = part / whole, Z**2 / whole
    middle = 2 * share + spread
    root = middle**2 - 4 * (1 + spread) * (share**2 - Z**2 * noise_variance)
    half = math.sqrt(max(0.0, root))
    return Interval(share, (middle - half) / (2 + 2 * spread), (middle + half) / (2 + 2 * spread))


def method_of(blocks: Sequence[Block]) -> Method:
    """Say whether these sums carry noise."""
    return "private" if any(block.sigma > 0 for block in blocks) else "exact"


def pooled(sites: Sequence[Sequence[Block]]) -> tuple[Block, ...]:
    """Sum the blocks of several sites; independent noises add in variance.

    A patient belongs to one site, so the sensitivity is the largest of them. The block
    ``exact`` cannot be summed and is left out, as is any that a site lacks.
    """
    named = [{block.name: block for block in blocks} for blocks in sites]
    shared = [block.name for block in sites[0]] if sites else []
    names = [name for name in shared if name != "exact" and all(name in site for site in named)]
    return tuple(_sum([site[name] for site in named]) for name in names)


def capped(blocks: Sequence[Block], most: float) -> tuple[Block, ...]:
    """Return a site's sums as of at most so many patients: all of them scaled, noise too.

    A site that says it has more than was agreed keeps its rates and loses the excess weight. The
    block ``exact`` is no sum and is left as it is, as is everything where no number was told. That
    no block counts more patients than that number is for ``agreed_sums`` to say.
    """
    said = next((float(block.values.sum()) for block in blocks if block.name in _NUMBERS), 0.0)
    if not said > most:
        return tuple(blocks)
    share = most / said
    return tuple(
        block if block.name == "exact"
        else replace(block, values=block.values * share, sigma=block.sigma * share)
        for block in blocks
    )  # fmt: skip


def macro(sites: Sequence[Sequence[Metric]]) -> tuple[Metric, ...]:
    """Return each metric's unweighted mean over the sites where it is estimable.

    Sites are independent: half-widths add in squares. ``n`` adds up.
    """
    return tuple(_mean(found) for found in _by_name(sites))


def worst(sites: Sequence[Sequence[Metric]]) -> tuple[Metric, ...]:
    """Return each metric of the site where it is worst, with that site's own interval.

    The interval does not know that the site was chosen for its value.
    """
    return tuple(
        max(found, key=_badness) for found in _by_name(sites) if found[0].name not in NOT_A_SCORE
    )


def shown_count(value: float) -> str:
    """Return a number of patients as people see it: under 10 only as "<10"."""
    return str(round(value)) if value >= SMALLEST_SHOWN else f"<{SMALLEST_SHOWN}"


def _sum(blocks: Sequence[Block]) -> Block:
    return replace(
        blocks[0],
        values=np.sum([block.values for block in blocks], axis=0),
        sigma=math.sqrt(sum(block.sigma**2 for block in blocks)),
        sensitivity=max(block.sensitivity for block in blocks),
    )


def _by_name(sites: Sequence[Sequence[Metric]]) -> list[list[Metric]]:
    names = dict.fromkeys(metric.name for metrics in sites for metric in metrics)
    every = [metric for metrics in sites for metric in metrics if metric.estimable]
    found = [[metric for metric in every if metric.name == name] for name in names]
    return [metrics for metrics in found if metrics]


def _mean(found: Sequence[Metric]) -> Metric:
    values = np.array([(m.value, m.lo, m.hi) for m in found], dtype=np.float64)
    value = float(values[:, 0].mean())
    below, above = np.sqrt(np.square(values[:, :1] - values[:, 1:]).sum(axis=0)) / len(found)
    noisy = any(metric.method == "private" for metric in found)
    return Metric(
        name=found[0].name,
        value=value,
        lo=value - float(below),
        hi=value + float(above),
        n=sum(metric.n for metric in found),
        method="private" if noisy else "exact",
    )


def _badness(metric: Metric) -> float:
    value = metric.value if metric.value is not None else math.nan
    if metric.name in BEST_AT_ONE:
        return abs(math.log(value)) if value > 0 else math.inf
    return value if metric.name in LOW_IS_GOOD else -value
