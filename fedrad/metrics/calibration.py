"""How well scores say what they mean, read off a table of label by score with its noise.

Scores inside a bin lie where ``within`` puts them. Every number is a sum over cells, divided by
another or solved for, so patients and privacy noise enter its variance alike: the variance of
patients is that of Poisson counts with the estimated rates, that of the noise is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from fedrad.metrics.fusion import Estimate, rates_of
from fedrad.metrics.metric import Interval, Z
from fedrad.metrics.within import Places

Floats = npt.NDArray[np.float64]

LEAST_SCORE = 0.01  # scores are cut to [0.01, 0.99] before their logit is taken
DRAWS = 600
_STEPS, _SMALL = 60, 1e-10
_UNKNOWN = Interval(math.nan, math.nan, math.nan)
_REACH = np.concatenate([np.linspace(0, 2, 31), np.geomspace(2.2, 40, 12)])


@dataclass(frozen=True, slots=True)
class Scored:
    """A table of (2 × bins) cells, label 0 first, its noise, and where scores lie in its bins."""

    estimate: Estimate
    places: Places

    @property
    def smaller(self) -> float:
        """The estimated number of patients of the smaller class."""
        return float(self.estimate.counts.reshape(2, -1).sum(axis=1).min())

    @property
    def rates(self) -> Floats:
        """Expected patients of each cell; 0 or more."""
        return rates_of(self.estimate.counts.reshape(2, -1)).ravel()

    def mean(self, each: Floats) -> Floats:
        """Return the mean within each cell of what ``each`` (2 × parts, ...) part has."""
        return np.asarray(self.places.spread @ each, dtype=np.float64)

    @property
    def labels(self) -> Floats:
        """The label of each part, 0 or 1."""
        return np.repeat([0.0, 1.0], len(self.places.logits))

    @property
    def scores(self) -> Floats:
        """The score of each part, both labels."""
        return np.tile(self.places.scores, 2)


def observed_to_expected(table: Scored) -> Interval:
    """Return positives over the sum of scores: 1 where a model is right on the whole."""
    return _ratio(table, table.labels, table.scores)


def brier(table: Scored) -> Interval:
    """Return the mean squared difference of score and label (Brier, 1950)."""
    return _ratio(table, np.square(table.labels - table.scores), np.ones(len(table.labels)))


def slope(table: Scored) -> Interval:
    """Return the slope of a logistic regression of the label on the logit of the score [1].

    Under 1 the scores are too extreme, over 1 too timid. The equations are sums over cells; the
    variance is the sandwich of patients and noise together.

    References:
        [1] Cox, Two Further Applications of a Model for Binary Regression, Biometrika 1958.
    """
    logits = _cut(table)
    return _solved(table, np.stack([np.ones(len(logits)), logits], axis=1), np.array([0.0, 1.0]))


def temperature(table: Scored) -> Interval:
    """Return what logits are to be divided by, of maximal likelihood [1].

    References:
        [1] Guo and others, On Calibration of Modern Neural Networks, ICML 2017.
    """
    found = _solved(table, _cut(table)[:, None], np.array([1.0]))
    if not found.lo > 0:
        return _UNKNOWN
    return Interval(1 / found.value, 1 / found.hi, 1 / found.lo)


def calibration_error(table: Scored, rng: np.random.Generator) -> Interval:
    """Return the expected calibration error over the table's bins, its bias subtracted.

    The plain sum S = Σ_k |d_k| of positives less scores of each bin is too large: finite counts
    and noise make every d_k differ from 0. Taking the true differences as λ d, S has a known
    distribution for each λ; the value is that λ at which its mean is the S that was seen, the
    limits those at which S is a rare excess or shortfall (2.5 % each). 0 where S is no more than
    chance and noise make of a model without error.
    """
    bins = len(table.estimate.counts) // 2
    total = float(table.estimate.counts.sum())
    if not total > 0:
        return _UNKNOWN
    each = table.mean(table.labels - table.scores)
    squares = table.mean(np.square(table.labels - table.scores))
    folded = np.tile(np.eye(bins), 2)
    signed = folded * each
    differences = signed @ table.estimate.counts
    variance = np.diag(folded @ (table.rates * squares))
    variance += signed @ table.estimate.covariance @ signed.T + _SMALL * np.eye(bins)
    noise = rng.standard_normal((DRAWS, bins)) @ np.linalg.cholesky(variance).T
    sums = [np.abs(reach * differences + noise).sum(axis=1) for reach in _REACH]
    seen = float(np.abs(differences).sum())
    means = np.array([one.mean() for one in sums])
    low, high = np.quantile(np.stack(sums), (0.025, 0.975), axis=1)
    value, lo, hi = (seen / total * _crossed(rows, seen) for rows in (means, high, low))
    return Interval(value, lo, hi)


def equations(table: Scored, given: Floats, found: Floats) -> tuple[Floats, Floats]:
    """Return the sums that are 0 at the coefficients of a logistic regression, and their variance.

    Args:
        table: What is regressed on; cells below 0 count as they are, so noise moves no mean.
        given: (2 × parts, k) what each part has.
        found: (k,) coefficients.

    Returns:
        (k,) Σ (label - called) × given over patients, and (k, k) its variance, patients and noise.
    """
    rest = table.labels - expit(given @ found)
    each = table.mean(rest[:, None] * given)
    products = given[:, :, None] * given[:, None, :] * np.square(rest)[:, None, None]
    patients = table.mean(products.reshape(len(given), -1)).T @ table.rates
    noise = each.T @ table.estimate.covariance @ each
    return each.T @ table.estimate.counts, patients.reshape(noise.shape) + noise


def _crossed(rising: Floats, seen: float) -> float:
    """Return the first λ at which a row over ``_REACH`` reaches what was seen; NaN: none."""
    rising = np.maximum.accumulate(rising)
    if rising[-1] < seen:
        return math.nan
    return float(np.interp(seen, rising, _REACH)) if rising[0] < seen else 0.0


def _ratio(table: Scored, part: Floats, whole: Floats) -> Interval:
    """Return Σ part / Σ whole over patients, with Fieller's interval [1].

    R is in the interval where (a - R b)² is at most z² times the variance of a - R b.

    References:
        [1] Fieller, Some Problems in Interval Estimation, JRSS B 1954.
    """
    both = table.mean(np.stack([part, whole], axis=1))
    a, b = both.T @ table.estimate.counts
    squares = table.mean(np.stack([part * part, part * whole, whole * whole], axis=1))
    aa, ab, bb = table.rates @ squares
    noise = both.T @ table.estimate.covariance @ both
    aa, ab, bb = aa + noise[0, 0], ab + noise[0, 1], bb + noise[1, 1]
    square, middle, rest = b * b - Z**2 * bb, a * b - Z**2 * ab, a * a - Z**2 * aa
    if not (b > 0 and square > 0):
        return _UNKNOWN
    root = math.sqrt(max(0.0, middle**2 - square * rest))
    return Interval(float(a / b), float(middle - root) / square, float(middle + root) / square)


def _cut(table: Scored) -> Floats:
    most = math.log((1 - LEAST_SCORE) / LEAST_SCORE)
    return np.tile(np.clip(table.places.logits, -most, most), 2)


def _solved(table: Scored, given: Floats, start: Floats) -> Interval:
    """Return the last coefficient of a logistic regression on ``given`` (2 × parts, k)."""
    found = start
    for _ in range(_STEPS):
        equations, curve = _equations(table, given, found)
        if not np.linalg.eigvalsh(curve).min() > _SMALL:
            return _UNKNOWN
        step = np.linalg.solve(curve, equations.T @ table.estimate.counts)
        found = found + np.clip(step, -1, 1)
        if np.abs(step).max() < _SMALL:
            return _sandwich(table, given, found)
    return _UNKNOWN


def _equations(table: Scored, given: Floats, found: Floats) -> tuple[Floats, Floats]:
    """Return what a patient of each cell adds (2 × bins, k), and the sums' curvature (k, k)."""
    called = expit(given @ found)
    equations = table.mean((table.labels - called)[:, None] * given)
    products = given[:, :, None] * given[:, None, :] * (called * (1 - called))[:, None, None]
    curve = table.mean(products.reshape(len(given), -1)).T @ table.estimate.counts
    return equations, curve.reshape(given.shape[1], given.shape[1])


def _sandwich(table: Scored, given: Floats, found: Floats) -> Interval:
    _, curve = _equations(table, given, found)
    _, middle = equations(table, given, found)
    inverse = np.linalg.inv(curve)
    spread = Z * math.sqrt(max(0.0, float((inverse @ middle @ inverse.T)[-1, -1])))
    value = float(found[-1])
    return Interval(value, value - spread, value + spread)
