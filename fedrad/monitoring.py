"""The part of a task that says how a promoted model is watched: ``[monitoring]``.

Public dates and numbers; absent, no site releases a window. Which patients a window holds and
what is told of them belongs to ``fedrad.shift``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from fedrad.settings import refuse_problems

LONGEST_DAYS = 366
MOST_WINDOWS = 520  # ten years of weeks


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """``[monitoring]``: equally long calendar windows, from a public day on."""

    begins: str  # first day of the first window, YYYY-MM-DD
    days: int  # of one window
    windows: int = 60  # how many the contract grants
    patients: int = 200  # expected in a window of one site; decides the number of bins alone
    labels: Literal["with", "later"] = "with"  # known when a window closes, or a second release
    label_days: int = 28  # how long later labels are waited for, from a window's last day on
    scales: Literal["descriptors-1", "descriptors-2"] = "descriptors-2"  # phantoms; real films
    strata: tuple[Literal["sex", "age"], ...] = ()  # told at the operating point, shown pooled
    encoder: Literal["", "encoder-1"] = ""  # tells what images show, with these public scales
    comparisons: int = 1  # paired comparisons of two models that audit patients pay for

    def __post_init__(self) -> None:
        refuse_problems("monitoring", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        try:
            date.fromisoformat(self.begins)
        except ValueError:
            yield f"begins must be a day, YYYY-MM-DD, got {self.begins[:20]!r}"
        if len(set(self.strata)) < len(self.strata):
            yield f"strata must be named once each, got {', '.join(self.strata)}"
        limits = {
            "days": LONGEST_DAYS,
            "windows": MOST_WINDOWS,
            "patients": 100_000,
            "comparisons": 100,
        }
        if not 0 <= self.label_days <= LONGEST_DAYS:
            yield f"label_days must lie between 0 and {LONGEST_DAYS}, got {self.label_days}"
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                yield f"{name} must lie between 1 and {most}, got {getattr(self, name)}"

    @property
    def releases(self) -> int:
        """How many releases a patient of a window pays for."""
        return 1 if self.labels == "with" else 2
