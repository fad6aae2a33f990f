"""Recalibrate a site's scores from its released table, and see afterwards what it did.

A recalibrated score is the logistic function of intercept + slope × logit of the score [1]; the
order of patients stays, so AUROC does not change. It is fitted on the windows since a change and
looked at on later ones alone. Whether to apply it is the hospital's decision; here are its
numbers. Privacy noise alone would flatten scores: cells without patients would seem to hold some.
So nothing is cut off at 0, and the sums that the fit makes 0 are weighed by their variance, noise
included [2]: much noise leaves scores as they are.

References:
    [1] Platt, Probabilistic Outputs for Support Vector Machines, 1999, here on a model's logits.
    [2] Hansen and others, Finite-Sample Properties of Some Alternative GMM Estimators, Journal of
        Business & Economic Statistics 14, 1996: the continuous-updating estimator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from fedrad.metrics.calibration import Scored, brier, calibration_error, equations
from fedrad.metrics.fusion import Estimate
from fedrad.metrics.metric import Interval
from fedrad.metrics.within import places
from fedrad.shift.blocks import Layout

Floats = npt.NDArray[np.float64]

PRIOR = (1.0, 0.3)  # deviations of intercept and log slope before any patient is seen
FEWEST_OF_CLASS = 15.0  # patients, noise included
_RIDGE = 1e-9 * np.eye(2)  # where scores part the labels wholly and nothing is noised


@dataclass(frozen=True, slots=True)
class Recalibration:
    """``logit`` of a score becomes ``intercept + slope · logit``."""

    intercept: float
    slope: float


@dataclass(frozen=True, slots=True)
class Effect:
    """Calibration error and Brier score of the same patients without and with it."""

    patients: float
    errors: tuple[Interval, Interval]
    losses: tuple[Interval, Interval]


def fitted(estimate: Estimate, layout: Layout) -> Recalibration | None:
    """Return the recalibration that fits a table's labels best, drawn towards none.

    With U the sums of the logistic regression's equations and V their variance, the least of
    U V⁻¹ U / 2 less the logarithm of the prior.

    Args:
        estimate: Counts (2 × bins), label 0 first, noise included.
        layout: Their edges.

    Returns:
        ``None`` where a class has too few patients.
    """
    table = _scored(estimate, layout)
    if table.smaller < FEWEST_OF_CLASS:
        return None
    logits = np.tile(table.places.logits, 2)
    given = np.stack([np.ones(len(logits)), logits], axis=1)

    def loss(at: Floats) -> float:
        sums, variance = equations(table, given, np.array([at[0], np.exp(at[1])]))
        prior = float(np.square(at / np.array(PRIOR)).sum())
        return 0.5 * (float(sums @ np.linalg.solve(variance + _RIDGE, sums)) + prior)

    found = minimize(loss, np.zeros(2), method="BFGS").x
    return Recalibration(float(found[0]), float(np.exp(found[1])))


def effect(
    estimate: Estimate, layout: Layout, made: Recalibration, *, rng: np.random.Generator
) -> Effect | None:
    """Return what a recalibration does to patients it was not fitted on.

    Args:
        estimate: Counts of later windows, as for ``fitted``.
        layout: Their edges.
        made: From ``fitted``.
        rng: For the intervals of the calibration error.

    Returns:
        ``None`` where a class has too few patients.
    """
    plain = _scored(estimate, layout)
    if plain.smaller < FEWEST_OF_CLASS:
        return None
    logits = made.intercept + made.slope * plain.places.logits
    moved = replace(plain, places=replace(plain.places, logits=logits))
    errors = calibration_error(plain, rng), calibration_error(moved, rng)
    return Effect(float(estimate.counts.sum()), errors, (brier(plain), brier(moved)))


def as_parameters(made: Recalibration) -> dict[str, float]:
    """Return what an action's row keeps."""
    return {"intercept": round(made.intercept, 4), "slope": round(made.slope, 4)}


def from_parameters(kept: Mapping[str, float]) -> Recalibration | None:
    """Return what an action's row kept, if it kept any."""
    if not {"intercept", "slope"} <= set(kept):
        return None
    return Recalibration(float(kept["intercept"]), float(kept["slope"]))


def _scored(estimate: Estimate, layout: Layout) -> Scored:
    return Scored(estimate, places(estimate.counts, layout.edges))
