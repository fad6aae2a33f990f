"""How likely the release gate promotes a model that is no worse, at sizes of audit splits.

Said before anybody signs, so that a study with too few audit patients is not surprised by
"cannot tell". Patients are drawn, not asked of anybody: two equal models that differ on a
stated share of patients, counts noised as a contract for the task would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fedrad.planning.noise import audit_sigma
from fedrad.protocol.messages import Block
from fedrad.shift.gate import judge
from fedrad.shift.pairs import may_compare
from fedrad.site_report import COMPARISON, deviation
from fedrad.task import Task

PATIENTS = (500, 1000, 2000)  # audit patients of each site
SITES = (4, 12)  # besides the study's own number
DISAGREE = 0.06  # share of patients on whom two equal models differ
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
    return tuple(
        Chance(number, patients, promoted(patients, number, sigma=sigma, prevalence=prevalence))
        for number in sorted({sites, *SITES})
        for patients in PATIENTS
    )


def promoted(patients: int, sites: int, *, sigma: float, prevalence: float) -> float:
    """Return the share of ``DRAWS`` studies in which the gate promotes an unchanged model."""
    rng = np.random.default_rng([_SEED, patients, sites])
    said = [judge(_study(rng, patients, sites, (sigma, prevalence))) for _ in range(DRAWS)]
    return sum(verdict.decision == "promote" for verdict in said) / DRAWS


def lines(found: tuple[Chance, ...]) -> Iterator[str]:
    """Yield what a person reads, a line for each number of sites."""
    if found:
        yield (
            f"Release gate: how often a model that is no worse is promoted ({DRAWS} drawn studies "
            f"each, two models that differ on {100 * DISAGREE:.0f} % of patients)"
        )
    for number in dict.fromkeys(chance.sites for chance in found):
        own = [chance for chance in found if chance.sites == number]
        said = ", ".join(f"{chance.patients}: {chance.promoted:.2f}" for chance in own)
        yield f"  {number} sites, by audit patients of each: {said}; else it cannot tell"


def _study(
    rng: np.random.Generator, patients: int, sites: int, noise: tuple[float, float]
) -> Mapping[str, tuple[Block, ...]]:
    sigma, prevalence = noise
    found = {}
    for site in range(sites):
        positive = int(rng.binomial(patients, prevalence))
        sizes = [positive, patients - positive]
        cells = [n for size in sizes for n in _differing(rng, size)]
        counts = {"disagreement": cells, "labels": sizes}
        found[str(site)] = tuple(_noised(rng, name, counts[name], sigma) for name in counts)
    return found


def _differing(rng: np.random.Generator, size: int) -> list[int]:
    half = DISAGREE / 2
    return [int(n) for n in rng.multinomial(size, [half, half, 1 - DISAGREE])[:2]]


def _noised(rng: np.random.Generator, name: str, counts: list[int], sigma: float) -> Block:
    exact = Block(name=name, values=np.array(counts, np.float64), sigma=0.0, sensitivity=1.0)
    spread = deviation(exact, sigma=sigma, share=COMPARISON[name])
    values = exact.values + spread * rng.standard_normal(len(counts))
    return Block(name=name, values=values, sigma=spread, sensitivity=1.0)
