"""Add readings up over windows: alarm where they stay high, and say since when.

C_t = max(0, C_(t-1) + min(z_t, cap) - DRIFT) [1]. No window alone passes the threshold, for its
part is cut to ``ONE_WINDOW`` of it and the change must be dated before it: a single bad window is
a note, two in a row may be an alarm.
Thresholds hold the stated share of false alarms over a stated number of windows, by drawing
whole paths at a site without change. The noisy reference is drawn once a path and stays: it
moves all readings of a path together, which thresholds for independent windows would miss.

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

from fedrad.shift.reference import Reference

Floats = npt.NDArray[np.float64]

DRIFT = 0.75
ONE_WINDOW = 0.6
PATHS = 1500
HORIZON = 50  # windows
STATED = 0.10  # share of unchanged sites with an alarm within the horizon
WEIGHTS: Mapping[str, float] = {"image": 0.25, "label": 0.35, "concept": 0.25, "population": 0.15}
"""How the stated share is divided; tags alone raise no alarm but need a threshold for notes."""
NOTES = 0.25
_SEED = 20261121
_LARGEST = 60.0


@dataclass(frozen=True, slots=True)
class Path:
    """A channel over windows: ``values`` (t,), and for each the window it changed in, if any."""

    values: Floats
    since: tuple[int | None, ...]
    threshold: float

    def over(self, number: int) -> bool:
        """Whether the sum has passed the threshold in this window, and began to rise before it."""
        since = self.since[number]
        return bool(self.values[number] > self.threshold) and since is not None and since < number

    def risen(self, number: int) -> bool:
        """Whether it has passed half of the threshold: too much to call the channel quiet."""
        return bool(self.values[number] > self.threshold / 2)


def path(z: Sequence[float], threshold: float) -> Path:
    """Return the sums over windows in order; one that was not readable adds nothing.

    Args:
        z: Readings, NaN where there is none.
        threshold: From ``thresholds``.
    """
    value, start = 0.0, None
    values, since = [], []
    for number, reading in enumerate(z):
        if not np.isnan(reading):
            value = max(0.0, value + min(reading, _cap(threshold)) - DRIFT)
        start = None if value == 0 else number if start is None else start
        values.append(value)
        since.append(None if start is None else start + change(z[start : number + 1]))
    return Path(np.array(values), tuple(since), threshold)


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


def thresholds(reference: Reference, *, windows: int, share: float = 1.0) -> dict[str, float]:
    """Return each channel's threshold for windows like those that made the reference.

    Args:
        reference: Decides which parts there are and what is uncertain about them.
        windows: How many windows it was made of.
        share: Of the stated false alarms, in (0, 1]: less where several sites are judged.
    """
    shape: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    for (channel, _), (view, spread) in reference.parts.items():
        uncertain: tuple[float, ...] = ()
        if len(spread.factors) > 1:
            part = spread.patients / np.outer(view.counts, view.counts) ** 0.5
            whole = spread.factor * part + view.noise
            share = float(np.trace(np.linalg.solve(whole, part))) / len(view.values)
            deviation = float(np.sqrt(spread.weights @ (spread.factors - spread.factor) ** 2))
            uncertain = (math.ceil(20 * share * deviation) / 20,)
        shape.setdefault(channel, []).append((len(view.values), uncertain))
    return {
        channel: _threshold(tuple(parts), windows, share * STATED * WEIGHTS.get(channel, NOTES))
        for channel, parts in shape.items()
    }


@lru_cache(maxsize=256)
def _threshold(
    parts: tuple[tuple[int, tuple[float, ...]], ...], windows: int, share: float
) -> float:
    """Return the least threshold that at most ``share`` of unchanged paths pass."""
    z = _null_z(parts, windows)
    low, high = DRIFT, _LARGEST
    while high - low > 0.01:
        middle = (low + high) / 2
        passed = np.mean(_highest(z, middle) > middle)
        low, high = (middle, high) if passed > share else (low, middle)
    return round(high, 2)


@lru_cache(maxsize=64)
def _null_z(parts: tuple[tuple[int, tuple[float, ...]], ...], windows: int) -> Floats:
    """Return readings of a channel on unchanged paths, (paths, windows)."""
    rng = np.random.default_rng(_SEED)
    p = np.ones((PATHS, HORIZON))
    for size, uncertain in parts:
        p = np.minimum(p, _null_p(size, windows, rng, *uncertain))
    return np.asarray(norm.isf(np.clip(p * len(parts), 1e-15, 1 - 1e-15)))


def _null_p(size: int, windows: int, rng: np.random.Generator, spread: float = 0.0) -> Floats:
    """Return p values of unchanged paths in whitened coordinates.

    A window's own part has variance w, the reference's w / k, drawn once a path; together 1.
    Where the spread of patients is uncertain, a path's own windows vary by a factor about 1.
    """
    own = windows / (windows + 1)
    fixed = rng.standard_normal((PATHS, 1, size)) * np.sqrt(1 - own)
    free = rng.standard_normal((PATHS, HORIZON, size)) * np.sqrt(own)
    square = np.square(fixed + free).sum(axis=-1)
    if not spread:
        return np.asarray(chi2.sf(square, size))
    factor = rng.lognormal(-(spread**2) / 2, spread, (PATHS, 1))
    known = rng.lognormal(-(spread**2) / 2, spread, (1, 1, 16))
    rows = (square * factor)[:, :, None] / known
    return np.asarray(chi2.sf(rows, size).mean(axis=-1))


def _highest(z: Floats, threshold: float) -> Floats:
    value = np.zeros(len(z))
    highest = value
    for column in np.minimum(z, _cap(threshold)).T:
        value = np.maximum(0.0, value + column - DRIFT)
        highest = np.maximum(highest, value)
    return highest


def _cap(threshold: float) -> float:
    return DRIFT + ONE_WINDOW * threshold
