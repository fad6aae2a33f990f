"""How the model does for women and men, young and old: over all hospitals and windows at once.

A subgroup of one hospital's month would be few patients and much noise, so single hospitals are
never shown, and nothing is where only one told it. Counts at the operating point are released
for each cell of a stratum (``fedrad.shift.blocks``); rates and intervals are read off their sums,
in which no hospital counts for more patients than agreed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedrad.metrics.metric import WIDEST, Interval, capped, proportion
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import FEWEST_OF_CLASS
from fedrad.shift.tags import cells_of
from fedrad.shift.windows import Released

FEWEST_SITES = 2
_UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One cell of a stratum; a rate is NaN where too few patients have its label."""

    stratum: str
    cell: str
    patients: float
    sensitivity: Interval
    specificity: Interval

    @property
    def name(self) -> str:
        """What readers call it."""
        return f"{self.stratum}: {self.cell}"


def subgroups(
    told: Mapping[str, Sequence[Released]], layout: Layout, *, most: float = math.inf
) -> tuple[Subgroup, ...]:
    """Return every subgroup, pooled; none where fewer than two sites told any.

    Args:
        told: Each site's releases that hold labels.
        layout: Its strata.
        most: Patients for which one release of a site counts at most.
    """
    blocks = [
        [
            block
            for release in releases
            for block in capped(release.blocks, most)
            if block.name == "strata"
        ]
        for releases in told.values()
    ]
    if sum(bool(own) for own in blocks) < FEWEST_SITES:
        return ()
    every = [block for own in blocks for block in own]
    values = np.sum([block.values for block in every], axis=0)
    variance = float(np.sum([block.sigma**2 for block in every]))
    return tuple(_cells(Block(name="strata", values=values, sigma=math.sqrt(variance),
                              sensitivity=1.0), layout))  # fmt: skip


def sentence(found: Sequence[Subgroup]) -> str:
    """Return what they show today."""
    known = [one for one in found if math.isfinite(one.sensitivity.value)]
    if not known:
        return "No subgroup has enough patients of a label to be read."
    lowest = min(known, key=lambda one: one.sensitivity.value)
    rest = [one.sensitivity for one in known if one.stratum == lowest.stratum and one != lowest]
    apart = any(lowest.sensitivity.hi < other.lo for other in rest)
    how = "which the intervals tell from others" if apart else "which may be chance"
    value = lowest.sensitivity.value
    return f"Sensitivity is lowest in {lowest.name} ({value:.2f}), {how}; over all hospitals."


def _cells(whole: Block, layout: Layout) -> Iterator[Subgroup]:
    rows = iter(whole.values.reshape(-1, 4))
    for stratum in layout.strata:
        for cell in cells_of(stratum):
            hit, false, missed, right = (float(value) for value in next(rows))
            yield Subgroup(
                stratum,
                cell,
                hit + false + missed + right,
                _rate(hit, missed, whole.sigma),
                _rate(right, false, whole.sigma),
            )


def _rate(part: float, rest: float, sigma: float) -> Interval:
    """Return part / (part + rest) where patients and noise leave it narrow enough."""
    whole = part + rest
    if whole < FEWEST_OF_CLASS:
        return _UNKNOWN
    found = proportion(part, whole, sigma**2 * (part**2 + rest**2) / whole**4)
    if found.hi - found.lo > 2 * WIDEST:
        return _UNKNOWN
    return Interval(*(min(max(end, 0.0), 1.0) for end in (found.value, found.lo, found.hi)))
