"""Do scores mean what they say: the observed share of positives in each bin of scores, by site.

Read from the table of labels and scores of a site's last window with labels, merged with the other
counts of the same release. Intervals are Wilson's with the privacy noise added; a bin that too few
patients or too much noise leave open has none. Shares and scores are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from aggregator.run_folder import Run
from fedrad.metrics.fusion import Estimate
from fedrad.metrics.metric import Z, proportion, share_metric
from fedrad.shift.agreed import RECORD
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import counted
from fedrad.shift.windows import Released

LEFT, TOP, SIDE = 36.0, 8.0, 130.0  # of the drawn square
LEVEL = 0.95
MOST_NAMED = 2  # bins in a sentence
FEWEST = 5.0  # estimated patients of a bin below which it is not read


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of scores that could be read: its ends, the observed share and its interval."""

    low: float
    high: float
    share: float
    lo: float
    hi: float

    @property
    def off(self) -> bool:
        """Whether no score of the bin lies in the interval of the observed share."""
        return self.lo > self.high or self.hi < self.low

    def far(self, bins: int) -> bool:
        """Whether it lies off by more than one of so many bins does by chance (Bonferroni)."""
        wider = float(norm.isf((1 - LEVEL) / 2 / bins)) / Z
        lo = self.share - wider * (self.share - self.lo)
        hi = self.share + wider * (self.hi - self.share)
        return lo > self.high or hi < self.low

    @property
    def drawn(self) -> dict[str, float]:
        """Where it is in the drawing: x of both ends and the middle, y of the share and ends."""
        return {
            "x0": _x(self.low), "x1": _x(self.high), "x": _x((self.low + self.high) / 2),
            "y": _y(self.share), "lo": _y(self.lo), "hi": _y(self.hi),
            "top": _y(self.high), "bottom": _y(self.low),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reliability:
    """One site's bins in its last window with labels, and what they say."""

    site: str
    title: str
    bins: tuple[Bin, ...]
    sentence: str

    @property
    def disagrees(self) -> bool:
        """Whether scores and shares differ by more than chance over all bins."""
        return any(one.far(len(self.bins)) for one in self.bins)


def reliabilities(
    run: Run, told: Mapping[str, Sequence[Released]], layout: Layout
) -> tuple[Reliability, ...]:
    """Return one figure for each site that released a table, in reader's order; outlines have none.

    Args:
        run: For the names of its sites.
        told: Each site's releases with labels, in order of their windows.
        layout: What is public about their blocks.
    """
    if layout.kind == "segmentation":
        return ()
    return tuple(
        _of_site(run, site, told[site][-1], layout) for site in run.sites if told.get(site)
    )


def headline(found: Sequence[Reliability]) -> str:
    """Return one sentence about all sites; empty where there is none."""
    off = [one for one in found if one.disagrees]
    read = [one for one in found if one.bins]
    if not found:
        return ""
    if not read:
        return "No score bin of any hospital's last window held enough patients to be read."
    if not off:
        return (
            "Scores mean what they say, as far as chance and noise let it be seen, at "
            f"{_hospitals(len(read))}."
        )
    return f"Scores and observed shares of positives disagree at {_listed([o.title for o in off])}."


def read_bins(estimate: Estimate, layout: Layout) -> Iterator[Bin]:
    """Yield the bins whose share of positives can be read, from low scores to high."""
    bins = len(layout.edges) - 1
    for number in range(bins):
        cell = np.eye(bins)[number]
        part, whole = np.concatenate([np.zeros(bins), cell]), np.concatenate([cell, cell])
        patients = float(whole @ estimate.counts)
        if patients < FEWEST:
            continue
        noise = estimate.noise_of_share(part, whole)
        interval = proportion(float(part @ estimate.counts), patients, noise)
        share = share_metric("observed", interval, n=patients, method="private")
        if share.value is not None and share.lo is not None and share.hi is not None:
            ends = layout.edges[number], layout.edges[number + 1]
            yield Bin(*ends, share.value, share.lo, share.hi)


def _of_site(run: Run, site: str, last: Released, layout: Layout) -> Reliability:
    bins = tuple(read_bins(counted(last, layout), layout))
    when = "before the windows" if RECORD in last.windows else f"window of {last.windows[-1]}"
    return Reliability(site, run.label(site), bins, f"{when}: {_sentence(bins)}")


def _sentence(bins: Sequence[Bin]) -> str:
    off = sorted((one for one in bins if one.off), key=lambda one: one.lo - one.high)
    if not bins:
        return "no bin held enough patients to be read"
    if not off:
        return f"observed shares fit the scores in all {len(bins)} bins that could be read"
    named = [
        f"scores of {_percent(one.low)} to {_percent(one.high)} %: {_percent(one.share)} % were "
        f"positive ({_percent(one.lo)} to {_percent(one.hi)})"
        for one in off[-MOST_NAMED:]
    ]
    return f"{len(off)} of {len(bins)} bins that could be read lie off; {'; '.join(named)}"


def _percent(share: float) -> int:
    return round(100 * share)


def _hospitals(number: int) -> str:
    return f"{number} hospital{'s' if number != 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _x(value: float) -> float:
    return round(LEFT + SIDE * value, 1)


def _y(value: float) -> float:
    return round(TOP + SIDE * (1 - value), 1)
