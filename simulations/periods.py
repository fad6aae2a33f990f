"""Stretches of days in which a hospital's patients, machines or labels are others than before.

Patients of a period are all of the monitoring split: nobody else's later exams would ever be
read by a study, so none are written. Which days make a window is the task's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from fedrad import seeds
from fedrad.settings import refuse_problems
from simulations.partition import Patient
from simulations.planted import Identity
from site_client.patients import patient_key, slot, split_of
from site_client.settings import Shares

LONGEST_DAYS = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``[[hospitals.periods]]``: patients whose first exams lie in these days."""

    first: str  # YYYY-MM-DD
    days: int
    patients: int  # first exams are spread evenly over the days
    prevalence: float | None = None  # absent: the hospital's
    scanners: dict[str, float] = field(default_factory=dict)  # empty: the hospital's
    flipped: float = 0.0  # share of labels that say the other class

    def __post_init__(self) -> None:
        refuse_problems("periods", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        try:
            date.fromisoformat(self.first)
        except ValueError:
            yield f"first must be a day, YYYY-MM-DD, got {self.first[:20]!r}"
        if not 1 <= self.days <= LONGEST_DAYS:
            yield f"days must lie between 1 and {LONGEST_DAYS}, got {self.days}"
        if self.patients < 0:
            yield f"patients must be 0 or more, got {self.patients}"
        for name, value in (("prevalence", self.prevalence), ("flipped", self.flipped)):
            if value is not None and not 0 <= value <= 1:
                yield f"{name} must lie in [0, 1], got {value}"

    def day(self, place: int, number: int) -> str:
        """Return the day of an exam, YYYYMMDD: of the patient at ``place``, exams from 1."""
        after = place * self.days // max(self.patients, 1) + number - 1
        return (date.fromisoformat(self.first) + timedelta(days=after)).strftime("%Y%m%d")

    def says_other(self, patient: Patient, site: str, seed: int) -> bool:
        """Whether the label of this patient is turned over."""
        chance: np.random.Generator = seeds.stream(seed, site, patient.ordinal, "label")
        return bool(chance.uniform() < self.flipped)


@dataclass(frozen=True, slots=True)
class Monitored:
    """Who is in the monitoring split of a simulated site, whose secret is known."""

    split_key: bytes
    shares: Shares

    def has(self, patient: Identity, issuer: str) -> bool:
        """Whether the site's keyed hash puts the patient there."""
        place = slot(self.split_key, patient_key(patient.patient_id, issuer))
        return split_of(place, self.shares) == "window"
