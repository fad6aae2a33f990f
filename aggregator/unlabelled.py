"""How many are positive in a window whose labels are still to come, read off its scores.

A note in the look, never an alarm, and gone once the labels are told. Nothing is said unless the
window's images and tags are as before, nor where its interval would be too wide; how it is
estimated, and when it is wrong, belongs to ``fedrad.shift.prevalence``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aggregator.shifts import History
from fedrad import seeds
from fedrad.metrics.metric import WIDEST
from fedrad.shift.blocks import Layout
from fedrad.shift.prevalence import prevalence, quiet
from fedrad.shift.reference import Reference
from fedrad.shift.windows import Released


def notes(histories: Mapping[str, History], layout: Layout, *, seed: int) -> dict[str, str]:
    """Return what the scores of each site's last window say, where its labels are to come.

    Args:
        histories: Each site's windows.
        layout: What is public about their blocks.
        seed: Of the run, for the bootstrap.
    """
    found: dict[str, str] = {}
    for site, own in histories.items():
        waiting = _waiting(own)
        if waiting is not None:
            rng = seeds.stream(seed, site, len(own.names), "share of positives by scores")
            said = _said(*waiting, layout=layout, rng=rng)
            found |= {site: f"{waiting[0].windows[0]} label: {said}"} if said else {}
    return found


def _waiting(own: History) -> tuple[Released, Reference] | None:
    """Return the last window, if its labels are to come and its images are as before."""
    kinds = [(windows, windows[0].block("table") is not None) for windows in own.told]
    tables = [reference for reference, (_, has) in zip(own.references, kinds, strict=True) if has]
    labelled = {name for windows, has in kinds if has for one in windows for name in one.windows}
    last = max((windows[-1] for windows, _ in kinds), key=lambda one: one.windows[-1])
    calm = quiet(own.found[own.names.index(last.windows[0])])
    return (last, tables[0]) if tables and calm and last.windows[-1] not in labelled else None


def _said(last: Released, before: Reference, *, layout: Layout, rng: np.random.Generator) -> str:
    share = prevalence(last, before, layout, rng=rng)
    if not share.hi - share.lo <= 2 * WIDEST:
        return ""
    negative, positive = before.estimate.counts.reshape(2, -1).sum(axis=1)
    return (
        f"its labels are to come; by its scores {share.value:.2f} ({share.lo:.2f} to "
        f"{share.hi:.2f}) are positive, {positive / (negative + positive):.2f} before"
    )
