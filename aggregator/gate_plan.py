"""How likely the release gate promotes a model that is no worse, at sizes of audit splits.

Said before anybody signs, so that a study with too few audit patients is not surprised by
"cannot tell". Patients are drawn, not asked of anybody: two equal models that differ on a
stated share of patients, or whose Dice differ by a stated deviation, noised as a contract would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fedrad.planning.noise import audit_sigma
from fedrad.protocol.messages import Block
from fedrad.shift.gate import judge, outlined
from fedrad.shift.pairs import may_compare
from fedrad.site_report import deviation, shares_of
from fedrad.task import Task

Draw = Callable[[np.random.Generator, int], tuple[Block, ...]]

PATIENTS = (500, 1000, 2000)  # audit patients of each site
SITES = (4, 12)  # besides the study's own number
DISAGREE = 0.06  # share of patients on whom two equal models differ
DICE_APART = 0.06  # deviation of the change of a patient's Dice between two equal models
DRAWS = 200
_SEED = 20261122


@dataclass(frozen=True, slots=True)
class Chance:
    """The share of drawn studies in which an unchanged model is promoted."""

    sites: int
    patients: int  # audit patients of each site
    promoted: float


def chances(task: Task, sites: int, *, prevalence: float) -> tuple[Chance, ...]:
    """Return the chance of "promote" at each size and number of sites.

    Args:
        task: Says the noise; one that grants no comparison has no chances.
        sites: How many the study has.
        prevalence: Share of positive patients, in (0, 1).
    """
    if not may_compare(task):
        return ()
    sigma = 0.0 if task.exact else audit_sigma(task)
    outlines = task.task.kind == "segmentation"
    draw: Draw = outline_changes if outlines else partial(disagreements, prevalence=prevalence)
    return tuple(
        Chance(number, patients, promoted(patients, number, sigma=sigma, draw=draw))
        for number in sorted({sites, *SITES})
        for patients in PATIENTS
    )


def promoted(patients: int, sites: int, *, sigma: float, draw: Draw) -> float:
    """Return the share of ``DRAWS`` studies in which the gate promotes an unchanged model."""
    rng = np.random.default_rng([_SEED, patients, sites])
    promoting = 0
    for _ in range(DRAWS):
        study = {str(site): _noised(rng, draw(rng, patients), sigma) for site in range(sites)}
        promoting += judge(study).decision == "promote"
    return promoting / DRAWS


def lines(found: tuple[Chance, ...], task: Task) -> Iterator[str]:
    """Yield what a person reads, a line for each number of sites."""
    outlines = task.task.kind == "segmentation"
    apart = f"differ on {100 * DISAGREE:.0f} % of patients"
    if outlines:
        apart = f"change a patient's Dice by {DICE_APART} (one deviation)"
    if found:
        yield (
            f"Release gate: how often a model that is no worse is promoted ({DRAWS} drawn studies "
            f"each, two models that {apart})"
        )
    for number in dict.fromkeys(chance.sites for chance in found):
        own = [chance for chance in found if chance.sites == number]
        said = ", ".join(f"{chance.patients}: {chance.promoted:.2f}" for chance in own)
        yield f"  {number} sites, by audit patients of each: {said}; else it cannot tell"


def disagreements(
    rng: np.random.Generator, patients: int, *, prevalence: float
) -> tuple[Block, ...]:
    """Return a site's exact counts for two equal models that call labels."""
    positive = int(rng.binomial(patients, prevalence))
    sizes = [positive, patients - positive]
    cells = [n for size in sizes for n in _differing(rng, size)]
    return tuple(
        Block(name=name, values=np.array(counts, np.float64), sigma=0.0, sensitivity=1.0)
        for name, counts in (("disagreement", cells), ("labels", sizes))
    )


def _differing(rng: np.random.Generator, size: int) -> list[int]:
    half = DISAGREE / 2
    return [int(n) for n in rng.multinomial(size, [half, half, 1 - DISAGREE])[:2]]


def outline_changes(rng: np.random.Generator, patients: int) -> tuple[Block, ...]:
    """Return a site's exact sums for two equal models that outline."""
    return outlined(np.zeros(patients), rng.normal(0.0, DICE_APART, patients))


def _noised(rng: np.random.Generator, blocks: Sequence[Block], sigma: float) -> tuple[Block, ...]:
    shares, found = shares_of(blocks), []
    for block in blocks:
        spread = deviation(block, sigma=sigma, share=shares[block.name])
        values = block.values + spread * rng.standard_normal(len(block.values))
        found.append(replace(block, values=values, sigma=spread))
    return tuple(found)
