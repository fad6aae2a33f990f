"""Is a window like the reference: one p value for each channel, noise and reference included.

Each part's difference to the reference is weighed by everything that moves it: patients,
privacy noise of the window, patients and noise of the reference. A channel has the smallest p
value of its parts times their number. Nothing is claimed here; ``alarms`` does that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import CHANNELS, View, views
from fedrad.shift.reference import Reference, Spread, sampling
from fedrad.shift.windows import Released

Floats = npt.NDArray[np.float64]

DIRECTED = "concept"  # the channel that is also read in the one direction of labels that fit less
DIRECTED_SHARE = 0.7  # of that channel's false alarms
_FLIPPED = 0.3  # share of labels turned over that the direction is made for
_RIDGE = 1e-12  # without any noise shares add up to 1 exactly: no variance in one direction


@dataclass(frozen=True, slots=True)
class Reading:
    """One channel of one window against the reference.

    ``statistic`` is that of the part that stands out most; ``p`` of the whole channel; ``z``
    the normal quantile of 1 - p, so a reading of 0 is a p value of one half.
    """

    channel: str
    part: str
    statistic: float
    p: float

    @property
    def z(self) -> float:
        """The reading on the scale that is added up over windows."""
        return float(norm.isf(min(max(self.p, 1e-15), 1 - 1e-15)))


def readings(released: Released, reference: Reference, layout: Layout) -> dict[str, Reading]:
    """Return the reading of every channel that both the window and the reference can carry."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    for view in views(released, layout):
        key = (view.channel, view.part)
        if key in reference.parts:
            before, spread = reference.parts[key]
            statistic, p = distance(view, before, spread)
            if view.channel == DIRECTED:
                p = float(joined(np.array(p), np.array(towards(view, before, spread))))
            found.setdefault(view.channel, []).append((view.part, statistic, p))
    return {name: _channel(name, found[name]) for name in CHANNELS if name in found}


def distance(view: View, before: View, spread: Spread) -> tuple[float, float]:
    """Return the whitened squared distance of two views, and its p value.

    With r the difference of the values and V its covariance at the likeliest factor, T² is
    r V⁻¹ r. At another factor its terms have other variances: such a sum of squares is matched
    by a scaled chi-squared variable of equal mean and variance [1], and p is the mean over the
    factor's posterior.

    References:
        [1] Satterthwaite, An Approximate Distribution of Estimates of Variance Components,
            Biometrics Bulletin 2, 1946.
    """
    patients = sampling(spread, view.counts) + sampling(spread, before.counts)
    noise = view.noise + before.noise
    rest = view.values - before.values
    variance = spread.factor * patients + noise + _RIDGE * np.eye(len(rest))
    statistic = float(rest @ np.linalg.solve(variance, rest))
    if len(spread.factors) == 1:
        return statistic, float(chi2.sf(statistic, len(rest)))
    root = np.linalg.inv(np.linalg.cholesky(variance))
    parts = np.linalg.eigvalsh(root @ patients @ root.T)
    each = 1 + np.outer(spread.factors - spread.factor, parts)
    mean, square = each.sum(axis=1), np.square(each).sum(axis=1)
    p = chi2.sf(statistic * mean / square, mean**2 / square)
    return statistic, float(spread.weights @ p)


def towards(view: View, before: View, spread: Spread) -> float:
    """Return the p value of scores against labels that fit less well than before, one-sided.

    Where a share of labels is turned over whatever the score, the mean score of those called
    positive moves towards that of the negatives and the other way round, by amounts that follow
    from the share of positives alone. With d that direction and V the covariance of the
    difference r, d V⁻¹ r / √(d V⁻¹ d) is normal where nothing moved: the likelihood ratio of
    the one direction.

    Args:
        view: (2,) mean places of scores of negatives and positives; of outlines (1,) a mean Dice.
        before: The same in the reference; where positives had the lower scores, the direction
            is turned round.
        spread: How patients vary.
    """
    if len(view.values) == 1:  # outlines: their Dice falls
        return _one_sided(np.array([-1.0]), view, before, spread)
    share = float(before.counts[1] / max(float(before.counts.sum()), 1.0))
    called = share * (1 - _FLIPPED) + (1 - share) * _FLIPPED
    direction = _FLIPPED * np.array([share / (1 - called), -(1 - share) / called])
    if before.values[1] < before.values[0]:
        direction = -direction
    return _one_sided(direction, view, before, spread)


def _one_sided(direction: Floats, view: View, before: View, spread: Spread) -> float:
    patients = sampling(spread, view.counts) + sampling(spread, before.counts)
    variance = patients + view.noise + before.noise + _RIDGE * np.eye(len(direction))
    weights = np.linalg.solve(variance, direction)
    rest = float(weights @ (view.values - before.values))
    return float(norm.sf(rest / math.sqrt(float(weights @ direction))))


def joined(anywhere: Floats, directed: Floats) -> Floats:
    """Return the p values of a channel read both ways: the lesser over its share, at most 1."""
    least = np.minimum(directed / DIRECTED_SHARE, anywhere / (1 - DIRECTED_SHARE))
    return np.asarray(np.minimum(1.0, least))


def between_sites(
    references: Mapping[str, Reference], channel: str
) -> dict[str, tuple[float, float]]:
    """Return each site's distance to the others' middle, with its p value, in one channel.

    The middle is the median of each value over the other sites, which count alike whatever
    their numbers: one odd hospital must not make all others look odd. This shows standing
    differences: hospitals do differ, and that is no alarm.
    """
    found = {}
    for site, own in references.items():
        others = [reference for name, reference in references.items() if name != site]
        parts = [
            distance(view, middle([other.parts[key][0] for other in others]), spread)
            for key, (view, spread) in own.parts.items()
            if key[0] == channel and others and all(key in other.parts for other in others)
        ]
        if parts:
            statistic, p = min(parts, key=lambda part: part[1])
            found[site] = (statistic, min(1.0, p * len(parts)))
    return found


def middle(others: Sequence[View]) -> View:
    """Return the median of each value over sites, with the noise of such a median.

    For three or more normal values the variance of a median is about π / 2 times that of
    their mean; of one or two it is the mean.
    """
    size = len(others)
    wider = math.pi / 2 if size > 2 else 1.0
    counts = size**2 / np.sum([1 / np.maximum(o.counts, 1.0) for o in others], axis=0)
    return View(
        others[0].channel,
        others[0].part,
        np.asarray(np.median([other.values for other in others], axis=0)),
        np.asarray(wider * np.sum([other.noise for other in others], axis=0) / size**2),
        np.asarray(counts / wider),
    )


def benjamini_hochberg(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p values adjusted so that those under a level have that false discovery rate.

    References:
        Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS-B 57, 1995.
    """
    ordered = sorted(p_values.items(), key=lambda item: -item[1])
    adjusted, least = {}, 1.0
    for place, (name, p) in enumerate(ordered):
        least = min(least, p * len(ordered) / (len(ordered) - place))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


def _channel(name: str, parts: Sequence[tuple[str, float, float]]) -> Reading:
    part, statistic, p = min(parts, key=lambda found: found[2])
    return Reading(name, part, statistic, min(1.0, p * len(parts)))
