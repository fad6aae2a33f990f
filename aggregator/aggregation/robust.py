"""From a round's updates to one: set aside, clip, then the rule of the task.

An update whose norm is far over the others' is set aside; the rest are clipped to a few
times the median norm; then the rule: the mean, or one that a minority of sites cannot move
far. Which updates came in at all is ``intake``'s decision; what becomes of the aggregate is
the server optimiser's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.aggregation import coordinates, factors
from aggregator.aggregation.mean import weighted_sum
from aggregator.aggregation.updates import Updates
from fedrad.federation import Rule
from fedrad.parameters import Parameters

_BY_DISTANCE = ("geometric-median", "centred-clipping")


@dataclass(frozen=True, slots=True)
class Measured:
    """Files whose scalar products are known, so that they are read once less."""

    files: Mapping[str, Path]
    products: factors.Matrix  # in the order of the sorted names

    def without(self, sites: tuple[str, ...]) -> Measured:
        """Return the same less some sites."""
        names = sorted(self.files)
        kept = [place for place, site in enumerate(names) if site not in sites]
        files = {names[place]: self.files[names[place]] for place in kept}
        return Measured(files, self.products[np.ix_(kept, kept)])


def measure(files: Mapping[str, Path], rule: Rule) -> Measured:
    """Read all updates once; a rule that needs norms only gets those on the diagonal.

    Raises:
        DamagedStateError: A file is missing, cut short or not safetensors of floats.
        RunError: The files hold different tensors.
    """
    with Updates(files) as updates:
        if rule.chosen(len(files)) in _BY_DISTANCE:
            return Measured(files, factors.scalar_products(updates))
        return Measured(files, factors.squared_norms(updates))


def too_large(measured: Measured, rule: Rule) -> tuple[str, ...]:
    """Return the sites whose updates are set aside: over ``rule.ceiling`` median norms."""
    return factors.outside(sorted(measured.files), measured.products, rule.ceiling)


def aggregate(measured: Measured, weights: Mapping[str, float], rule: Rule) -> Parameters:
    """Return the aggregate of the updates, all of them.

    Args:
        measured: What ``measure`` returned, less what was set aside.
        weights: Site name to its share; they sum to 1.
        rule: The task's.

    Raises:
        DamagedStateError: A file cannot be read.
    """
    with Updates(measured.files) as updates:
        shares = np.array([weights[site] for site in updates.sites], np.float64)
        clip = factors.on_grid(factors.clip_factors(measured.products, rule.clip))
        name = rule.chosen(len(updates.sites))
        if name == "median":
            return coordinates.by_coordinate(updates, clip, shares, coordinates.median)
        if name == "trimmed-mean":
            trimmed = coordinates.trimmed_mean(rule.trim)
            return coordinates.by_coordinate(updates, clip, shares, trimmed)
        products = factors.clipped(measured.products, clip)
        if name == "geometric-median":
            shares = factors.geometric_median(products, shares)
        elif name == "centred-clipping":
            shares = factors.centred_clipping(products, shares)
        return weighted_sum(updates, list(shares * clip))
