"""The area under the curve of precision and recall, read off a table of label by score.

Average precision is the mean over positives of the precision at their own score. Scores inside a
bin lie where ``within`` puts them; running sums are made to rise, for a precision is no sum.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from fedrad.metrics.fusion import Estimate, rates_of, resampled
from fedrad.metrics.metric import Interval, Z
from fedrad.metrics.within import Places

Floats = npt.NDArray[np.float64]

DRAWS = 500
_EDGE = 1e-6  # a value nearer to 0 or 1 has no logit to speak of


def average_precision(counts: Floats, places: Places) -> Floats:
    """Return the average precision of tables.

    Args:
        counts: (..., 2 × bins), label 0 first; may be negative.
        places: Where scores lie inside the bins. Patients of one part are in random order.

    Returns:
        (...), NaN without positives.
    """
    parts = (counts @ places.spread).reshape(*counts.shape[:-1], 2, -1)[..., ::-1]
    called, found = (_rising(parts[..., label, :]) for label in (0, 1))
    positive = np.diff(found, axis=-1, prepend=0.0)
    found = found - positive / 2
    called = called - np.diff(called, axis=-1, prepend=0.0) / 2 + found
    total = positive.sum(axis=-1)
    sums = (positive * found / np.where(called > 0, called, 1.0)).sum(axis=-1)
    return np.asarray(np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan))


def _rising(parts: Floats) -> Floats:
    """Return running sums from the highest score down that never fall.

    Counts below 0 make a running sum fall; the mean of its running maximum from above and minimum
    from below rises and is not biased to either side, as cutting every count off at 0 would be.
    """
    sums = np.cumsum(parts, axis=-1)
    up = np.maximum.accumulate(sums, axis=-1)
    down = np.minimum.accumulate(sums[..., ::-1], axis=-1)[..., ::-1]
    return np.maximum((up + down) / 2, 0.0)


def precision_area(estimate: Estimate, places: Places, rng: np.random.Generator) -> Interval:
    """Return the average precision, its interval normal on the logit scale.

    The variance is that of a parametric bootstrap of patients and noise together.
    """
    rates = rates_of(estimate.counts.reshape(2, -1)).ravel()
    value = float(average_precision(estimate.counts, places))
    draws = average_precision(resampled(estimate, rates, rng=rng, draws=DRAWS), places)
    if np.isnan(draws).mean() > 0.01 or not math.isfinite(value):
        return Interval(math.nan, math.nan, math.nan)
    spread = Z * float(np.nanstd(logit(np.clip(draws, _EDGE, 1 - _EDGE))))
    middle = float(logit(np.clip(value, _EDGE, 1 - _EDGE)))
    return Interval(value, float(expit(middle - spread)), float(expit(middle + spread)))
