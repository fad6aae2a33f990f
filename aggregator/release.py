"""Turn the sums of one release into rows of the table ``metrics``.

Post-processing only: sites that reported, all of them pooled (``*``), their unweighted
mean (``macro``) and the worst of them (``worst``). What the numbers mean is in
``fedrad.metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from aggregator import tables
from aggregator.setup import OnRelease
from fedrad import seeds
from fedrad.metrics.measure import measure
from fedrad.metrics.metric import Metric, capped, macro, pooled, worst
from fedrad.protocol.messages import Block
from fedrad.task import Task

POOLED, MACRO, WORST = "*", "macro", "worst"
SPLIT = "audit"


def figures_of(
    task: Task, *, seed: int, most: Mapping[str, float] = MappingProxyType({})
) -> OnRelease:
    """Return what computes a release's rows.

    Args:
        task: Whose blocks they are.
        seed: Drives the intervals' bootstrap.
        most: Patients for which each site counts at most among all patients together; a site
            that is not named counts for as many as it says.
    """

    def figures(
        round_number: int, sums: Mapping[str, tuple[Block, ...]]
    ) -> Iterable[tables.Metric]:
        if not sums:
            return ()
        rng = seeds.stream(seed, "", round_number, "intervals")
        found = {site: measure(sums[site], task, rng) for site in sorted(sums)}
        every = list(found.values())
        weighed = [capped(sums[site], most.get(site, math.inf)) for site in sorted(sums)]
        found[POOLED] = measure(pooled(weighed), task, rng)
        found |= {MACRO: macro(every), WORST: worst(every)}
        return tuple(_rows(round_number, found))

    return figures


def _rows(round_number: int, found: Mapping[str, tuple[Metric, ...]]) -> Iterator[tables.Metric]:
    for site, metrics in found.items():
        for metric in metrics:
            yield tables.Metric(
                round=round_number,
                site=site,
                data_site=site,
                split=SPLIT,
                metric=metric.name,
                value=metric.value,
                lo=metric.lo,
                hi=metric.hi,
                n=metric.n,
                method=metric.method,
            )
