"""The figures of an evaluation: computed from the sites' sums, recorded, never in the way.

Sums come from elsewhere and may break any formula: a site whose own sums do is set aside by
name, and a figure that cannot be computed is an event, never the end of a training. How
figures are computed is given (``setup.on_release``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aggregator import quarantine
from aggregator.blame import sparing
from aggregator.setup import OnRelease, RunSetup
from aggregator.store import Store
from aggregator.tables import Metric
from fedrad.protocol.messages import Block

Sums = Mapping[str, tuple[Block, ...]]  # site -> what it sent


class Scoring:
    """The figures of one run, or of one window of its model in use."""

    def __init__(self, setup: RunSetup, store: Store, on_release: OnRelease | None = None) -> None:
        """Compute by ``on_release``; absent: as the run's setup says."""
        self._setup, self._store = setup, store
        self._on_release = on_release or setup.on_release

    def record(self, number: int, sums: Sums) -> None:
        """Record a release's figures; a site whose sums allow none is set aside by name."""
        outcome = sparing(sums, lambda some: tuple(self._released(number, some)))
        nobody = outcome.blamed.keys() == sums.keys()  # where all fail, no site is to blame
        for site, problem in outcome.blamed.items():
            detail = {"problem": problem} | ({quarantine.BLAMELESS: True} if nobody else {})
            self._store.record_event(quarantine.SUMS_SET_ASIDE, number, site=site, detail=detail)
        if outcome.problem:
            self._store.record_event("figures-failed", number, detail={"problem": outcome.problem})
        self._store.record_metric(outcome.found or ())

    def _released(self, number: int, sums: Sums) -> Iterator[Metric]:
        """Yield the figures of those who train together, then each other site's own alone."""
        trained = {site: own for site, own in sums.items() if self._trains(site)}
        if trained or not sums:
            yield from self._on_release(number, trained)
        for site in sorted(sums.keys() - trained.keys()):
            alone = self._on_release(number, {site: sums[site]})
            yield from (row for row in alone if row.site == site)

    def _trains(self, site: str) -> bool:
        return self._setup.contract.sites[site].kind == "train"
