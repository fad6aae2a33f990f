"""What a site's windows were like before: means, their noise, and how patients vary.

The reference of a site is the sum of its first windows, noised like any other. How much
patients vary follows for shares from the shares themselves (multinomial), and for moments of
images from the site's own means and variances, which the moments tell, with public correlations
(``moments.covariance``) and the rules of a normal distribution. Real images are not normal, so one
factor scales that, and the spread of the reference windows says how large it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError
from fedrad.metrics.fusion import Estimate, rates_of
from fedrad.shift import contents, extras
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import View, class_masks, counted, place_of_bins, views
from fedrad.shift.moments import covariance as public_covariance
from fedrad.shift.windows import Released, together

Floats = npt.NDArray[np.float64]

WINDOWS = 6  # first windows that make a reference
FACTORS = np.geomspace(0.3, 6.0, 31)  # by which patients of a site may vary more or less
_PRIOR = 0.5  # deviation of the factor's logarithm before any window is seen
_LEAST_SHARE = 1e-3  # of a cell: stands for what noise hides


@dataclass(frozen=True, slots=True)
class Spread:
    """How a part varies: among patients (d, d), and how sure that is.

    ``weights`` are the posterior probabilities of ``FACTORS``; one weight alone, of factor 1,
    where theory knows the variance.
    """

    patients: Floats
    factors: Floats
    weights: Floats

    @property
    def factor(self) -> float:
        """The posterior mean of the factor."""
        return float(self.factors @ self.weights)


@dataclass(frozen=True, slots=True)
class Reference:
    """A site's reference: the views of its pooled windows, with their spread."""

    windows: tuple[str, ...]
    parts: dict[tuple[str, str], tuple[View, Spread]]
    estimate: Estimate  # cells of scores, for prevalence without labels


def reference_of(releases: Sequence[Released], layout: Layout) -> Reference:
    """Build a site's reference from its first windows.

    Args:
        releases: Two or more windows of one kind, in order.
        layout: What is public about their blocks.

    Raises:
        DataError: Too few windows, or too few patients in all of them together.
        ProtocolError: A block does not fit the layout.
    """
    if len(releases) < 2:
        raise DataError(f"a reference needs 2 windows or more, got {len(releases)}")
    whole = together(releases)
    found = views(whole, layout)
    if not found:
        raise DataError("the reference windows hold too few patients; wait for more of them")
    estimate = counted(whole, layout)
    single = [{(v.channel, v.part): v for v in views(one, layout)} for one in releases]
    parts = {}
    for view in found:
        key = (view.channel, view.part)
        each = [one[key] for one in single if key in one]
        parts[key] = (view, _spread(view, each, (estimate, layout)))
    return Reference(whole.windows, parts, estimate)


def single(released: Released, layout: Layout) -> Reference | None:
    """Return a reference of one release alone; ``None`` where it has too few patients.

    How patients vary then rests on theory and prior: there is no spread of windows to see.

    Raises:
        ProtocolError: A block does not fit the layout.
    """
    found = views(released, layout)
    if not found:
        return None
    estimate = counted(released, layout)
    parts = {(v.channel, v.part): (v, _spread(v, [v], (estimate, layout))) for v in found}
    return Reference(released.windows, parts, estimate)


def sampling(spread: Spread, counts: Floats, factor: float = 1.0) -> Floats:
    """Return the covariance (d, d) of means over ``counts`` patients."""
    root = np.sqrt(np.maximum(counts, 1.0))
    return np.asarray(factor * spread.patients / np.outer(root, root))


def _spread(view: View, each: Sequence[View], about: tuple[Estimate, Layout]) -> Spread:
    estimate, layout = about
    if view.channel == "image":
        return _scaled(_of_images(view, layout), view, each)
    one = np.ones(1)
    if view.patients is not None:
        return Spread(view.patients, one, one)
    if view.channel == "concept":
        return Spread(_of_scores(estimate), one, one)
    shares = view.values if len(view.values) > 1 else np.array([1 - view.values[0], *view.values])
    kept = np.maximum(shares, _LEAST_SHARE)
    kept = kept / kept.sum()
    multinomial = np.diag(kept) - np.outer(kept, kept)
    return Spread(multinomial if len(view.values) > 1 else multinomial[1:, 1:], one, one)


def _of_images(view: View, layout: Layout) -> Floats:
    if view.part == "moments":
        return _of_moments(view, layout.scales)
    if view.part == "extras":
        return extras.covariance(len(view.values))
    return contents.covariance()


def _of_moments(view: View, constants: str) -> Floats:
    """Return the covariance of (z, z² / √2) of patients under a normal distribution.

    With means m and covariance C: cov(z_i, z_j² / √2) = √2 m_j C_ij and cov(z_i², z_j²) / 2 =
    C_ij² + 2 m_i m_j C_ij (Isserlis). C has public correlations and the site's variances, the
    mean of z² less the square of the mean of z, drawn towards the public ones as far as the
    noise leaves them open.
    """
    half = len(view.values) // 2
    mean = view.values[:half]
    public = public_covariance(constants)
    prior = np.diag(public)
    seen = math.sqrt(2) * view.values[half:] - mean**2
    noise = 2 * np.diag(view.noise)[half:] + 4 * mean**2 * np.diag(view.noise)[:half]
    trust = prior**2 / (prior**2 + noise)
    variance = np.maximum(trust * seen + (1 - trust) * prior, prior / 10)
    scale = np.sqrt(variance / prior)
    c = public * np.outer(scale, scale)
    cross = math.sqrt(2) * c * mean[None, :]
    squares = c**2 + 2 * c * np.outer(mean, mean)
    return np.asarray(np.block([[c, cross], [cross.T, squares]]))


def _of_scores(estimate: Estimate) -> Floats:
    bins = len(estimate.counts) // 2
    rates = rates_of(estimate.counts.reshape(2, bins)).ravel()
    place = np.tile(place_of_bins(bins), 2)
    masks = np.stack(class_masks(bins))
    sizes = np.maximum(masks @ rates, 1.0)
    means = (masks * place) @ rates / sizes
    squares = (masks * place**2) @ rates / sizes
    return np.diag(np.maximum(squares - means**2, 1e-4))


def _scaled(patients: Floats, whole: View, each: Sequence[View]) -> Spread:
    """Weigh ``FACTORS`` by how well each explains the spread of the reference windows.

    Normal likelihood of the windows about their pooled mean, its logarithm reduced by the one
    window in k that the mean took, with a log-normal prior about 1.
    """
    rest = (len(each) - 1) / max(len(each), 1)
    scores = -0.5 * (np.log(FACTORS) / _PRIOR) ** 2
    for view in each:
        scores += rest * _likelihoods(patients, view, whole)
    weights = np.exp(scores - scores.max())
    return Spread(patients, FACTORS, weights / weights.sum())


def _likelihoods(patients: Floats, view: View, whole: View) -> Floats:
    """Return the logarithm of a window's likelihood for each of ``FACTORS``.

    In coordinates in which the covariance at factor 1 is the unit matrix and the patients' part
    of it is diagonal with l, that at factor f is diagonal with 1 - l + f l.
    """
    part = sampling(Spread(patients, FACTORS, FACTORS), view.counts)
    root = np.linalg.inv(np.linalg.cholesky(part + view.noise))
    own, axes = np.linalg.eigh(root @ part @ root.T)
    rest = axes.T @ root @ (view.values - whole.values)
    share = max(1 - float(view.counts[0] / max(whole.counts[0], 1.0)), 0.1)
    variance = 1 + np.outer(FACTORS - 1, own)
    return np.asarray(-0.5 * (np.log(variance) + rest**2 / (variance * share)).sum(axis=1))
