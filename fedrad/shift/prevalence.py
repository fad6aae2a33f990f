"""How many patients are positive, read off scores alone; and when that may be said.

Maximum likelihood under label shift: the scores of a window are a mixture of the reference's
two rows, and only the weight is unknown. It holds where images are as before. Where they are
not, it is confidently wrong, so nothing is said unless image and acquisition channels are quiet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedrad.metrics.fusion import rates_of, resampled
from fedrad.metrics.metric import Interval, percentiles
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import FEWEST, counted
from fedrad.shift.reference import Reference
from fedrad.shift.statistics import Reading
from fedrad.shift.windows import Released

Floats = npt.NDArray[np.float64]

QUIET = 0.05  # p value of a channel from which it counts as quiet
SETTLED = 1e-6
STEPS = 200
DRAWS = 400


def quiet(found: Mapping[str, Reading]) -> bool:
    """Whether images and tags are both readable and as before: else labels are not judged."""
    return all(name in found and found[name].p >= QUIET for name in ("image", "acquisition"))


def prevalence(
    released: Released, reference: Reference, layout: Layout, *, rng: np.random.Generator
) -> Interval:
    """Return the share of positives of a window with a 95 % interval, from its scores.

    Args:
        released: A window, with labels or without; labels are not looked at.
        reference: Made of windows with labels.
        layout: Its edges.
        rng: For the bootstrap of patients and noise of both.

    Returns:
        NaN where the window or a class of the reference is too small.
    """
    bins = len(layout.edges) - 1
    here = counted(released, layout)
    table = reference.estimate
    if len(table.counts) != 2 * bins or float(here.counts.sum()) < FEWEST:
        return Interval(math.nan, math.nan, math.nan)
    value = likeliest(_scores(here.counts, bins), table.counts.reshape(2, bins))
    windows = resampled(here, np.maximum(here.counts, 0.0), rng=rng, draws=DRAWS)
    tables = resampled(table, np.maximum(table.counts, 0.0), rng=rng, draws=DRAWS)
    drawn = [
        likeliest(_scores(window, bins), one.reshape(2, bins))
        for window, one in zip(windows, tables, strict=True)
    ]
    return percentiles(value, np.array(drawn))


def likeliest(scores: Floats, table: Floats) -> float:
    """Return the share of positives under which a window's scores are likeliest.

    Expectation maximisation [1]: each score's chance to be a positive's, then the mean of them.

    Args:
        scores: (bins,) patients, possibly below 0 from noise: negatives are cut and the rest
            scaled to the same sum.
        table: (2, bins) patients of the reference, label 0 first; the same holds.

    Returns:
        In [0, 1]; NaN where a class or the window is empty.

    References:
        [1] Saerens, Latinne, Decaestecker, Adjusting the Outputs of a Classifier to New a
            Priori Probabilities, Neural Computation 14, 2002.
    """
    rates, rows = rates_of(scores), rates_of(table)
    if not rates.sum() > 0 or not (rows.sum(axis=1) > 0).all():
        return math.nan
    within = np.maximum(rows / rows.sum(axis=1, keepdims=True), 1e-9)
    share = 0.5
    for _ in range(STEPS):
        positive = share * within[1] / (share * within[1] + (1 - share) * within[0])
        before, share = share, float(rates @ positive / rates.sum())
        if abs(share - before) < SETTLED:
            break
    return share


def _scores(counts: Floats, bins: int) -> Floats:
    return np.asarray(counts.reshape(-1, bins).sum(axis=0))
