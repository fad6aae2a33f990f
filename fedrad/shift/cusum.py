"""Add readings up over windows: alarm where they stay high, and say since when.

C_t = max(0, C_(t-1) + min(z_t, cap) - drift) [1]. No window alone passes the threshold, for its
part is cut to ``ONE_WINDOW`` of it, the change must be dated before it, and the sum without its
largest part must be ``REST`` of it. Where one reading is far off and no other is near it, the
rest must pass the whole threshold. So one bad window is a note, two in a row may be an alarm.
Thresholds hold the stated share of false alarms over a stated number of windows, by drawing
whole paths at a site without change, the more the rarer an alarm may be. The noisy reference is
drawn once a path and stays: it moves all readings of a path together, which thresholds for
independent windows would miss, and the more so the larger later windows are.

References:
    [1] Page, Continuous Inspection Schemes, Biometrika 41, 1954.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from fedrad.shift.estimates import View
from fedrad.shift.reference import Reference, Spread
from fedrad.shift.statistics import DIRECTED, joined

Floats = npt.NDArray[np.float64]
Part = tuple[int, float, float]
"""Number of values, how unsure their variance is, how many later windows the reference is worth."""

DRIFTS: Mapping[str, float] = {"label": 1.75, "concept": 1.1}
"""What is taken off a reading by channel: much of prevalence, which has seasons."""
DRIFT = 0.75  # of the channels that are not in ``DRIFTS``
ONE_WINDOW = 0.6
REST = 0.55
LONE = 5.0  # a reading from which one window may be alone in what it says
NEAR = 2.0  # times the next reading, above which it is alone
PATHS = 1500
FEWEST = 7  # of the drawn paths that a share is read off
DOUBLINGS = 6  # of the paths at most
HORIZON = 50  # windows
STATED = 0.10  # share of unchanged sites with an alarm within the horizon
WEIGHTS: Mapping[str, float] = {"image": 0.30, "label": 0.15, "concept": 0.40, "population": 0.15}
"""How the stated share is divided; tags alone raise no alarm but need a threshold for notes."""
NOTES = 0.25
_RIDGE = 1e-12  # without any noise shares add up to 1 exactly: no variance in one direction
_SEED = 20261121
_LARGEST = 60.0


@dataclass(frozen=True, slots=True)
class Path:
    """A channel over windows: ``values`` (t,), and for each the window it changed in, if any.

    ``rest`` (t,) are the sums without the largest part that each has of one window; ``asked``
    (t,) is what they must pass.
    """

    values: Floats
    rest: Floats
    asked: Floats
    since: tuple[int | None, ...]
    threshold: float

    def over(self, number: int) -> bool:
        """Whether the sum has passed the threshold in this window, not by one window alone."""
        since = self.since[number]
        high = self.values[number] > self.threshold and self.rest[number] > self.asked[number]
        return bool(high) and since is not None and since < number

    def risen(self, number: int) -> bool:
        """Whether it has passed half of the threshold: too much to call the channel quiet."""
        return bool(self.values[number] > self.threshold / 2)


def path(z: Sequence[float], threshold: float, *, drift: float = DRIFT) -> Path:
    """Return the sums over windows in order; one that was not readable adds nothing.

    Args:
        z: Readings, NaN where there is none.
        threshold: From ``thresholds``.
        drift: From ``drift_of``.
    """
    value, most, start = 0.0, 0.0, None
    values, rest, asked, since = [], [], [], []
    for number, reading in enumerate(z):
        if not np.isnan(reading):
            part = min(reading, drift + ONE_WINDOW * threshold) - drift
            value, most = max(0.0, value + part), max(most, part)
        start = None if value == 0 else number if start is None else start
        most = 0.0 if start is None else most
        values.append(value)
        rest.append(value - most)
        asked.append(threshold * (1.0 if _alone(z[start or 0 : number + 1]) else REST))
        since.append(None if start is None else start + change(z[start : number + 1]))
    return Path(np.array(values), np.array(rest), np.array(asked), tuple(since), threshold)


def _alone(z: Sequence[float]) -> bool:
    """Whether one reading is far off and no other of them is near it."""
    ordered = sorted((reading for reading in z if not math.isnan(reading)), reverse=True)
    return bool(ordered) and ordered[0] > max(LONE, NEAR * max([0.0, *ordered[1:2]]))


def drift_of(channel: str) -> float:
    """Return what is taken off each reading of a channel before it is added."""
    return DRIFTS.get(channel, DRIFT)


def change(z: Sequence[float]) -> int:
    """Return where readings most likely began to be high: the place after which (Σ z)² / n is most.

    That is the likelihood ratio of a mean above 0 from there on, for normal readings [1]. The
    sum's own last 0 would often be earlier, since it also rises by chance.

    References:
        [1] Hinkley, Inference about the Change-Point in a Sequence of Random Variables,
            Biometrika 57, 1970.
    """
    seen = np.nan_to_num(np.array(z, dtype=np.float64))
    known = (~np.isnan(np.array(z, dtype=np.float64))).astype(float)
    total, number = np.cumsum(seen[::-1])[::-1], np.cumsum(known[::-1])[::-1]
    return int(np.argmax(np.maximum(total, 0.0) ** 2 / np.maximum(number, 1.0)))


def thresholds(
    reference: Reference, *, windows: int, share: float = 1.0, larger: float = 1.0
) -> dict[str, float]:
    """Return each channel's threshold.

    Args:
        reference: Decides which parts there are and what is uncertain about them.
        windows: How many windows it was made of.
        share: Of the stated false alarms, in (0, 1]: less where several sites are judged.
        larger: Patients of a later window over those of one of the reference's, in the mean;
            windows that are no larger have one threshold.
    """
    found = {}
    for channel in dict.fromkeys(channel for channel, _ in reference.parts):
        parts = tuple(
            _part(view, spread, windows, larger)
            for (own, _), (view, spread) in reference.parts.items()
            if own == channel
        )
        stated = share * STATED * WEIGHTS.get(channel, NOTES)
        found[channel] = _threshold(channel, parts, stated)
    return found


def _part(view: View, spread: Spread, windows: int, larger: float) -> Part:
    part = spread.patients / np.outer(view.counts, view.counts) ** 0.5
    whole = spread.factor * part + view.noise + _RIDGE * np.eye(len(view.values))
    of_patients = float(np.trace(np.linalg.solve(whole, part))) / len(view.values)
    deviation = float(np.sqrt(spread.weights @ (spread.factors - spread.factor) ** 2))
    uncertain = math.ceil(20 * of_patients * deviation) / 20
    worth = windows * _worth(min(spread.factor * of_patients, 1.0), larger)
    return len(view.values), uncertain, worth


def _worth(of_patients: float, larger: float) -> float:
    """Return a later window's variance over that of one of the reference's, 1 at most.

    With g times the patients that of patients falls as 1 / g, that of noise as 1 / g². In steps
    of √2 to the nearest: windows that are alike but for chance have one threshold, drawn once.
    """
    worth = of_patients / larger + (1 - of_patients) / larger**2
    return float(2 ** (-max(0, round(-2 * math.log2(worth))) / 2))


@lru_cache(maxsize=4096)
def _threshold(channel: str, parts: tuple[Part, ...], share: float) -> float:
    """Return the least threshold that at most ``share`` of unchanged paths pass."""
    doublings = min(max(0, math.ceil(math.log2(FEWEST / (share * PATHS)))), DOUBLINGS)
    z, drift = _null_z(channel == DIRECTED, parts, doublings), drift_of(channel)
    low, high = drift, _LARGEST
    while high - low > 0.01:
        middle = (low + high) / 2
        passed = np.mean(_highest(z, middle, drift) > middle)
        low, high = (middle, high) if passed > share else (low, middle)
    return round(high, 2)


@lru_cache(maxsize=64)
def _null_z(directed: bool, parts: tuple[Part, ...], doublings: int) -> Floats:
    """Return readings of a channel on unchanged paths, (paths, windows)."""
    if not doublings:
        return _drawn_z(directed, parts, np.random.default_rng(_SEED))
    before = _null_z(directed, parts, doublings - 1)
    more = [
        _drawn_z(directed, parts, np.random.default_rng((_SEED, number)))
        for number in range(len(before) // PATHS, 2 * len(before) // PATHS)
    ]
    return np.concatenate([before, *more])


def _drawn_z(directed: bool, parts: tuple[Part, ...], rng: np.random.Generator) -> Floats:
    p = np.ones((PATHS, HORIZON))
    for size, uncertain, worth in parts:
        found = _null_p(size, worth, rng, spread=uncertain)
        if directed:
            found = _null_directed(size, worth, rng)
        p = np.minimum(p, found)
    return np.asarray(norm.isf(np.clip(p * len(parts), 1e-15, 1 - 1e-15)))


def _null_p(size: int, windows: float, rng: np.random.Generator, *, spread: float) -> Floats:
    """Return p values of unchanged paths.

    Where ``spread`` is not 0, a path's windows vary by a factor about 1 that is not known.
    """
    square = np.square(_null_rest(size, windows, rng)).sum(axis=-1)
    if not spread:
        return np.asarray(chi2.sf(square, size))
    factor = rng.lognormal(-(spread**2) / 2, spread, (PATHS, 1))
    known = rng.lognormal(-(spread**2) / 2, spread, (1, 1, 16))
    rows = (square * factor)[:, :, None] / known
    return np.asarray(chi2.sf(rows, size).mean(axis=-1))


def _null_directed(size: int, windows: float, rng: np.random.Generator) -> Floats:
    """Return p values of a part that is read both ways, as ``statistics`` joins them."""
    rest = _null_rest(size, windows, rng)
    return joined(chi2.sf(np.square(rest).sum(axis=-1), size), norm.sf(rest[..., 0]))


def _null_rest(size: int, windows: float, rng: np.random.Generator) -> Floats:
    """Return differences to the reference on unchanged paths in whitened coordinates.

    A window's own part has variance w, the reference's w / k where it is worth k windows, drawn
    once a path; together 1.
    """
    own = windows / (windows + 1)
    fixed = rng.standard_normal((PATHS, 1, size)) * np.sqrt(1 - own)
    free = rng.standard_normal((PATHS, HORIZON, size)) * np.sqrt(own)
    return np.asarray(fixed + free)


def _highest(z: Floats, threshold: float, drift: float) -> Floats:
    """Return the largest threshold that each path would pass, sum and rest of it alike."""
    value, most, highest = np.zeros(len(z)), np.zeros(len(z)), np.zeros(len(z))
    for column in np.minimum(z, drift + ONE_WINDOW * threshold).T - drift:
        value = np.maximum(0.0, value + column)
        most = np.where(value > 0, np.maximum(most, column), 0.0)
        highest = np.maximum(highest, np.minimum(value, (value - most) / REST))
    return highest
