"""What a change cost, and how much of it each kind explains.

The loss is the Brier score on the released table of label by score, each score taken as the
middle of its bin. Its change splits exactly into a part of the share of positives and a part
within the classes [1]; the latter goes to covariates (images, machine, patients), to concept
and to what stays unexplained as the diagnosis divides its probability among them. The first
split is arithmetic, the second is no more certain than the diagnosis. A mean loss is linear in the
counts: cells that noise took below 0 stay there, or wrong scores would seem commoner than they are.

References:
    [1] Shapley value of two players, which is here the mean over both orders of exchanging
        prevalences and rows: Kitagawa, Components of a Difference Between Two Rates, JASA 50,
        1955.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrad.metrics.fusion import Estimate, resampled
from fedrad.metrics.metric import percentiles
from fedrad.shift.blocks import Layout

Floats = npt.NDArray[np.float64]

METRIC = "brier"
COVARIATES = ("image", "acquisition", "population")
FEWEST_OF_CLASS = 15.0  # patients, noise included
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the change of the loss with its 95 % interval; above 0: it got worse."""

    name: str
    value: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The loss before and after, and what its change is made of; the parts add up to it."""

    before: float
    after: float
    parts: tuple[Part, ...]


def split(
    before: Estimate,
    after: Estimate,
    layout: Layout,
    *,
    posterior: Mapping[str, float],
    rng: np.random.Generator,
) -> Drop | None:
    """Return the change of the Brier score, split by what explains it.

    Args:
        before: Counts (2 × bins) of the reference, label 0 first.
        after: Of the windows since the change.
        layout: Their edges.
        posterior: From ``diagnosis.posterior``; taken as known in the intervals.
        rng: For the bootstrap of patients and noise of both.

    Returns:
        ``None`` where a class is too small on either side.
    """
    bins = len(layout.edges) - 1
    tables = [before.counts.reshape(2, bins), after.counts.reshape(2, bins)]
    if min(float(table.sum(axis=1).min()) for table in tables) < FEWEST_OF_CLASS:
        return None
    loss = _losses(layout)
    first, last = (_drawn(one, bins, rng) for one in (before, after))
    value, drawn = _split(tables[0], tables[1], loss), _split(first, last, loss)
    parts = [_part("label", value[0], drawn[0], 1.0)]
    for name, share in _explained(posterior).items():
        parts.append(_part(name, value[1], drawn[1], share))
    return Drop(_brier(tables[0], loss), _brier(tables[1], loss), tuple(parts))


def _explained(posterior: Mapping[str, float]) -> dict[str, float]:
    """Return which share of the change within classes each explanation gets; they sum to 1."""
    covariate = sum(posterior[name] for name in COVARIATES)
    concept = posterior["concept"]
    return {
        "covariate": covariate,
        "concept": concept,
        "unexplained": max(0.0, 1.0 - covariate - concept),
    }


def _part(name: str, value: Floats, drawn: Floats, share: float) -> Part:
    found = percentiles(float(value) * share, drawn * share)
    return Part(name, found.value, found.lo, found.hi)


def _losses(layout: Layout) -> Floats:
    """Return (2, bins) squared distance of a bin's middle from each label."""
    edges = np.asarray(layout.edges)
    middle = (edges[:-1] + edges[1:]) / 2
    return np.stack([middle**2, (1 - middle) ** 2])


def _brier(table: Floats, loss: Floats) -> float:
    return float((table * loss).sum() / table.sum())


def _split(before: Floats, after: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """Return the parts of prevalence and of rows for tables (..., 2, bins)."""
    shares, losses = zip(*(_rows(table, loss) for table in (before, after)), strict=True)
    label = ((shares[1] - shares[0]) * (losses[0] + losses[1]) / 2).sum(axis=-1)
    within = ((shares[0] + shares[1]) / 2 * (losses[1] - losses[0])).sum(axis=-1)
    return np.asarray(label), np.asarray(within)


def _rows(table: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """Return the share of each label and its mean loss, (..., 2); a class is no less than one."""
    sizes = np.maximum(table.sum(axis=-1), 1.0)
    return sizes / sizes.sum(axis=-1, keepdims=True), (table * loss).sum(axis=-1) / sizes


def _drawn(estimate: Estimate, bins: int, rng: np.random.Generator) -> Floats:
    rates = np.maximum(estimate.counts, 0.0)
    return resampled(estimate, rates, rng=rng, draws=DRAWS).reshape(-1, 2, bins)
