"""Who a hospital's patients are: healthy or not, how many images, on which machine.

Size, label and scanner skew are by patient: every image of a patient has the same label, and
a site's prevalence is exact. What the images show belongs to ``phantoms``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedrad import seeds

MOST_IMAGES = 4  # of one patient


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of one site."""

    ordinal: int  # 0 to patients - 1
    positive: bool
    images: int  # 1 to 4
    scanners: tuple[str, ...]  # a name for each image


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many patients, and how they differ."""

    patients: int
    prevalence: float  # share of positive patients, in [0, 1]; met to the nearest patient
    several_share: float  # share of patients with two to four images, in [0, 1]
    scanners: Mapping[str, float]  # machine to relative weight


def deal_patients(site: str, seed: int, *, census: Census) -> tuple[Patient, ...]:
    """Draw the patients of one site.

    Args:
        site: The site's name; with the seed it fixes everything.
        seed: The study's seed.
        census: The numbers; one patient's images may be from several machines.

    Returns:
        In order of ordinal; positives are scattered.
    """
    patients, scanners = census.patients, census.scanners
    rng = seeds.stream(seed, site, 0, "patients")
    positive = np.arange(patients) < round(census.prevalence * patients)
    rng.shuffle(positive)
    several = rng.permutation(patients) < round(census.several_share * patients)
    images = np.where(several, rng.integers(2, MOST_IMAGES + 1, patients), 1)
    names, weights = sorted(scanners), np.array([scanners[name] for name in sorted(scanners)])
    machines = rng.choice(len(names), (patients, MOST_IMAGES), p=weights / weights.sum())
    return tuple(
        Patient(
            ordinal=ordinal,
            positive=bool(positive[ordinal]),
            images=int(images[ordinal]),
            scanners=tuple(names[index] for index in machines[ordinal, : images[ordinal]]),
        )
        for ordinal in range(patients)
    )


def deal_keys(keys: Sequence[str], seed: int, *, sites: int) -> tuple[tuple[str, ...], ...]:
    """Deal patients to virtual sites by a seeded permutation, as evenly as possible.

    Args:
        keys: One for each patient; order and repetitions do not matter.
        seed: The study's seed.
        sites: How many virtual sites; 1 or more.

    Returns:
        For each site its patients, sorted; disjoint, together all of ``keys``.
    """
    known = sorted(set(keys))
    order = seeds.stream(seed, "", 0, "virtual sites").permutation(len(known))
    return tuple(
        tuple(sorted(known[index] for index in order[start::sites])) for start in range(sites)
    )
