"""Which kind of change fits what moved: probabilities, to be read only after an alarm.

The windows since the change are pooled and compared with the reference. A multinomial logistic
regression, fitted on phantoms of two hospitals that nothing else is measured on
(``kinds-1``, ``benchmarks/shiftbench/fit_kinds.py``), turns how far each channel is from before
into probabilities. Three rules stand over it: of labels nothing is claimed while images or tags
stand out, nothing at all where no label was released, and of concept nothing where a class has
too few patients to read it. When to alarm is ``alarms``' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrad.constants import read_constants
from fedrad.metrics.fusion import Estimate, rates_of
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import (
    CHANNELS,
    FEWEST_OF_CLASS,
    View,
    class_masks,
    counted,
    place_of_bins,
    views,
)
from fedrad.shift.reference import Reference, Spread, sampling
from fedrad.shift.statistics import Reading, readings
from fedrad.shift.windows import Released

Floats = npt.NDArray[np.float64]

CONSTANTS = "kinds-1"
KINDS = ("none", *CHANNELS, "unknown")
OF_LABELS = ("label", "concept")
LOUD = 0.01  # p value of images or tags under which nothing is claimed of labels
LEAST = 0.5  # share among the kinds of change under which none of them is named
FEATURES = (
    "one",
    *(f"{channel} {part}" for channel in CHANNELS for part in ("above 0", "above 2")),
    "scores overall above 0",
    "scores overall above 2",
    *(f"{row} {way}" for row in ("negatives", "positives") for way in ("higher", "lower")),
)


def posterior(
    parts: Sequence[tuple[Released, Reference]], layout: Layout
) -> dict[str, float] | None:
    """Return the probability of each of ``KINDS``, that nothing changed included.

    Args:
        parts: The pooled windows since the change with their reference; two where labels are
            released by themselves.
        layout: What is public about their blocks.

    Returns:
        Probabilities that sum to 1; ``None`` where nothing could be read.
    """
    found: dict[str, Reading] = {}
    for released, reference in parts:
        found |= readings(released, reference, layout)
    if not found:
        return None
    values = features(parts, found, layout)
    barred = () if "label" in found else OF_LABELS
    logits = _weights() @ values
    logits[[KINDS.index(name) for name in barred]] = -np.inf
    raw = np.exp(logits - logits.max())
    return _ruled(dict(zip(KINDS, (raw / raw.sum()).tolist(), strict=True)), found)


def named(found: Mapping[str, float]) -> str:
    """Return the likeliest kind of change, given that there was one; else ``unknown``."""
    changed = {kind: share for kind, share in found.items() if kind != "none"}
    best = max(changed, key=lambda kind: changed[kind])
    return best if changed[best] >= LEAST * sum(changed.values()) else "unknown"


def features(
    parts: Sequence[tuple[Released, Reference]], found: Mapping[str, Reading], layout: Layout
) -> Floats:
    """Return (len(FEATURES),) how far each channel is from before, in bounded steps.

    Readings of channels count up to 2 and above it, as do deviations of the mean place of all
    scores, whatever the label: where labels alone changed it stays. Deviations of the mean
    place of scores of negatives and of positives count with their sign; that of a class with too
    few patients is 0.
    """
    values = [1.0]
    for channel in CHANNELS:
        values += _steps(found[channel].z if channel in found else 0.0, 6.0)
    values += _steps(max((abs(_overall(*part, layout)) for part in parts), default=0.0), 4.0)
    for deviation in _classes(parts, layout):
        values += [min(max(deviation, 0.0), 5.0), min(max(-deviation, 0.0), 5.0)]
    return np.array(values)


def _ruled(found: dict[str, float], read: Mapping[str, Reading]) -> dict[str, float]:
    """Move to unknown what is claimed of labels and cannot be.

    Both kinds where images or tags are missing or stand out; concept where it was not read.
    """
    quiet = all(name in read and read[name].p >= LOUD for name in ("image", "acquisition"))
    moved = [name for name in OF_LABELS if not quiet or name not in read]
    found["unknown"] += sum(found[name] for name in moved)
    return found | dict.fromkeys(moved, 0.0)


def _steps(value: float, most: float) -> list[float]:
    return [min(max(value, 0.0), 2.0), min(max(value - 2.0, 0.0), most)]


def _overall(released: Released, reference: Reference, layout: Layout) -> float:
    """Return by how many deviations the mean place of all scores differs; 0 where untold."""
    names = {block.name for block in released.blocks}
    bins = len(layout.edges) - 1
    if not names & {"table", "scores"} or len(reference.estimate.counts) not in (bins, 2 * bins):
        return 0.0
    places = (
        _mean_place(one, np.ones(len(one.counts)), bins=bins, fewest=1.0)
        for one in (counted(released, layout), reference.estimate)
    )
    return _apart(*places)


def _mean_place(
    estimate: Estimate, kept: Floats, *, bins: int, fewest: float
) -> tuple[float, float] | None:
    """Return the mean place of the scores in ``kept`` cells and its variance, patients and noise.

    ``None`` where they hold fewer than ``fewest`` patients.
    """
    total = float(kept @ estimate.counts)
    if total < fewest:
        return None
    place = np.tile(place_of_bins(bins), len(estimate.counts) // bins)
    mean = float((kept * place) @ estimate.counts) / total
    slope = kept * (place - mean) / total
    among = float(np.square(place - mean) @ (kept * rates_of(estimate.counts))) / total
    noise = float(slope @ estimate.covariance @ slope)
    return mean, noise + max(among, 1e-3) / total


def _apart(here: tuple[float, float] | None, there: tuple[float, float] | None) -> float:
    if here is None or there is None:
        return 0.0
    return float((here[0] - there[0]) / np.sqrt(here[1] + there[1]))


def _classes(parts: Sequence[tuple[Released, Reference]], layout: Layout) -> Floats:
    """Return (2,) signed deviations of the scores of negatives and positives.

    Where one class has too few patients the other is still told: positives that a reader misses
    raise the scores of negatives, and fewer positives do not.
    """
    key, bins = ("concept", "scores"), len(layout.edges) - 1
    for released, reference in parts:
        here = {(view.channel, view.part): view for view in views(released, layout)}
        if key in here and key in reference.parts:
            return _deviations(here[key], *reference.parts[key])
        if ("label", "prevalence") in here and ("label", "prevalence") in reference.parts:
            both = (counted(released, layout), reference.estimate)
            return np.array([_of_class(both, mask, bins) for mask in class_masks(bins)])
    return np.zeros(2)


def _of_class(both: tuple[Estimate, Estimate], kept: Floats, bins: int) -> float:
    return _apart(*(_mean_place(one, kept, bins=bins, fewest=FEWEST_OF_CLASS) for one in both))


def _deviations(view: View, before: View, spread: Spread) -> Floats:
    patients = sampling(spread, view.counts) + sampling(spread, before.counts)
    variance = np.diag(patients + view.noise + before.noise)
    return np.asarray((view.values - before.values) / np.sqrt(variance))


@lru_cache(maxsize=1)
def _weights() -> Floats:
    """Return the regression's weights, (kinds, features)."""
    values = read_constants(CONSTANTS)["values"]
    return np.array([values["weights"][kind] for kind in KINDS])
