"""Turn the sums of one release into rows of the table ``metrics``.

Post-processing only: sites that reported, all of them pooled (``*``), their unweighted
mean (``macro``) and the worst of them (``worst``). What the numbers mean is in
``fedrad.metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from aggregator import tables
from aggregator.setup import OnRelease
from fedrad import seeds
from fedrad.metrics.measure import measure
from fedrad.metrics.metric import Metric, macro, pooled, worst
from fedrad.protocol.messages import Block
from fedrad.task import Task

POOLED, MACRO, WORST = "*", "macro", "worst"
SPLIT = "audit"


def figures_of(task: Task, *, seed: int) -> OnRelease:
    """Return what computes a release's rows; ``seed`` drives the intervals' bootstrap."""

    def figures(
        round_number: int, sums: Mapping[str, tuple[Block, ...]]
    ) -> Iterable[tables.Metric]:
        if not sums:
            return ()
        rng = seeds.stream(seed, "", round_number, "intervals")
        found = {site: measure(sums[site], task, rng) for site in sorted(sums)}
        every = list(found.values())
        found[POOLED] = measure(pooled([sums[site] for site in sorted(sums)]), task, rng)
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
