"""How far outlines lie from the reference: surface Dice and Hausdorff distance from histograms.

Each patient is one record: the mean normalised surface Dice (NSD) and the mean 95th percentile of
the Hausdorff distance (HD95) over the images whose reference is not empty. Distances have no
largest value, so a private mean of them means nothing: only a median is read. The site's half is
exact; noise belongs to ``site_report``, Dice to ``segmentation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError, ProtocolError
from fedrad.metrics.fusion import Estimate, Look, combine, rates_of, resampled
from fedrad.metrics.metric import Interval, Method, Metric, Z, ratio_metric, share_metric
from fedrad.metrics.segmentation import mean_of, quantile_of
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]

TOLERANCE = 2.0  # of surfaces: millimetres where a task names a spacing, else pixels of the input
NSD_EDGES = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.985, 1.0)
DISTANCE_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0)  # then a cell for all above
QUANTILES = (("nsd_p50", 0.5), ("nsd_p10", 0.1))
CELLS = {"nsd_histogram": len(NSD_EDGES) - 1, "hd95_histogram": len(DISTANCE_EDGES)}


def blocks(nsd: npt.ArrayLike, distance: npt.ArrayLike) -> tuple[Block, ...]:
    """Count one site's patients exactly.

    Args:
        nsd: (n,) in [0, 1]; NaN where every reference is empty. An infinite one counts as 0.
        distance: (n,) HD95, 0 or more; infinite where nothing was predicted. Where ``nsd`` is not
            NaN, one that is not a number counts as infinite.

    Returns:
        ``nsd_histogram`` and ``hd95_histogram`` of the patients with a reference. One patient
        more or less moves each by at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: Lengths differ.
    """
    given, far = np.asarray(nsd, dtype=np.float64), np.asarray(distance, dtype=np.float64)
    if given.ndim != 1 or given.shape != far.shape:
        raise DataError(f"one NSD and one distance a patient, got {given.shape} and {far.shape}")
    kept = ~np.isnan(given)
    share = np.clip(np.where(np.isfinite(given[kept]), given[kept], 0.0), 0.0, 1.0)
    far = np.nan_to_num(far[kept], nan=np.inf, posinf=np.inf)
    return (
        _counted("nsd_histogram", np.searchsorted(NSD_EDGES[1:-1], share, side="right")),
        _counted("hd95_histogram", np.searchsorted(DISTANCE_EDGES[1:], far, side="right")),
    )


def measure(
    report: Sequence[Block],
    patients: tuple[float, float],
    *,
    method: Method,
    rng: np.random.Generator,
) -> tuple[Metric, ...]:
    """Read the metrics off one site's blocks, or off pooled ones, noise included.

    Args:
        report: Blocks among which are those of ``blocks``.
        patients: From ``segmentation.patients_scored``: a second look at their number.
        method: Whether the sums carry noise.
        rng: For the bootstrap.

    Returns:
        ``nsd_mean``, ``nsd_p50``, ``nsd_p10`` and ``hd95_p50`` (to one bin), each with a 95 %
        interval; not estimable where that is too wide or the median lies beyond all edges.

    Raises:
        ProtocolError: A block is missing or has the wrong length.
    """
    near, far = (counted(report, name, patients) for name in CELLS)
    found = {"nsd_mean": _mean(near, patients[0])}
    drawn = _drawn(near, rng)
    for name, share in QUANTILES:
        found[name] = quantile_of(near.counts, drawn, NSD_EDGES, share)
    n = patients[0]
    return (
        *(share_metric(name, one, n=n, method=method) for name, one in found.items()),
        ratio_metric("hd95_p50", _distance(far, _drawn(far, rng)), n=n, method=method),
    )


def mean_nsd(report: Sequence[Block], patients: tuple[float, float]) -> tuple[float, float, float]:
    """Return the mean of bin middles, the variance of its noise and that among patients; else NaN.

    Two windows alike have the same mean of middles, wherever in the bins their patients lie.
    """
    return mean_of(counted(report, "nsd_histogram", patients), NSD_EDGES, 0)


def counted(report: Sequence[Block], name: str, patients: tuple[float, float]) -> Estimate:
    """Return the best estimate of a histogram's cells, then 0: nobody sums NSD or distances."""
    block = next((one for one in report if one.name == name), None)
    cells = CELLS[name]
    if block is None or block.values.shape != (cells,):
        raise ProtocolError(f"a report of outlines needs {cells} values in block {name!r}")
    ones, last = np.append(np.ones(cells), 0.0), np.eye(cells + 1)[-1:]
    return combine(
        [
            Look(np.eye(cells + 1)[:-1], block.values, block.sigma),
            Look(ones[None], np.array([patients[0]]), patients[1]),
            Look(last, np.zeros(1), 0.0),
        ]
    )


def _mean(near: Estimate, patients: float) -> Interval:
    """Return the mean NSD: of bin middles, give or take half a bin on top of patients and noise.

    No sum says where in their bins patients lie, and all may lie at one end.
    """
    mean, noise, among = mean_of(near, NSD_EDGES, 0)
    if not patients > 0 or math.isnan(mean):
        return Interval(math.nan, math.nan, math.nan)
    share = rates_of(near.counts[:-1])
    within = float(share @ np.diff(NSD_EDGES)) / max(float(share.sum()), 1.0) / 2
    spread = within + Z * math.sqrt(max(0.0, noise) + among / max(patients, 1.0))
    return Interval(mean, mean - spread, mean + spread)


def _distance(estimate: Estimate, draws: Floats) -> Interval:
    """Return the median distance; unknown where it may lie beyond the last edge."""
    edges = (*DISTANCE_EDGES, 2 * DISTANCE_EDGES[-1])
    found = quantile_of(estimate.counts, draws, edges, 0.5)
    beyond = not found.hi <= DISTANCE_EDGES[-1]
    return Interval(math.nan, math.nan, math.nan) if beyond else found


def _drawn(estimate: Estimate, rng: np.random.Generator) -> Floats:
    return resampled(estimate, np.append(rates_of(estimate.counts[:-1]), 0.0), rng=rng)


def _counted(name: str, place: npt.NDArray[np.intp]) -> Block:
    values = np.bincount(place, minlength=CELLS[name]).astype(np.float64)
    return Block(name=name, values=values, sigma=0.0, sensitivity=1.0)
