"""Was it worth it? What ``comparison.json`` of a run folder holds.

In simulation only: every arm is scored on the same test patients from local files, which
no message ever carries. The runner writes it, the report reads it. Scores are AUROC or mean
Dice, in [0, 1]; a difference is federated minus alone, paired by patient, in [-1, 1].
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedrad import durable
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.settings import as_table, build, refuse_problems

NAME = "comparison.json"

Verdict = Literal["federated", "alone", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteComparison:
    """One site's test patients under every arm; ``None`` is an arm that was not run."""

    site: str
    label: str
    n: int  # test patients
    n_positive: int  # of them with the positive class; 0 for segmentation
    alone: float | None = None  # this site's patients only, without privacy
    federated_private: float | None = None
    federated_exact: float | None = None  # federated without privacy
    pooled: float | None = None  # all patients in one place, without privacy
    trivial: float | None = None  # chance, or the mean mask
    difference: float | None = None  # the run's own federated model minus alone
    lo: float | None = None  # 95 % interval of the difference
    hi: float | None = None
    p_holm: float | None = None  # adjusted over the sites
    verdict: Verdict = "cannot tell"
    reason: str = ""  # why nothing can be told, such as too few of a class


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole of ``comparison.json``."""

    primary: Literal["auroc", "dice_mean"]
    sites: tuple[SiteComparison, ...]
    note: str = ""  # how it was done, for readers
    command: str = ""  # what makes it again
    seeds: int = 1
    rates: dict[str, float] = field(default_factory=dict)  # learning rate chosen by each arm
    spread: dict[str, tuple[float, ...]] = field(default_factory=dict)  # site: one a seed

    def __post_init__(self) -> None:
        refuse_problems("comparison", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for site in self.sites:
            if (site.lo is None) != (site.hi is None):
                yield f"sites: {site.site!r} has half an interval"
            if site.verdict != "cannot tell" and site.difference is None:
                yield f"sites: {site.site!r} has a verdict without a difference"


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write ``comparison.json`` into a run folder, durably."""
    durable.write_json(folder / NAME, as_table(comparison))


def read_comparison(folder: Path) -> Comparison | None:
    """Read ``comparison.json``; ``None`` if the run made none.

    Raises:
        DamagedStateError: It is there and cannot be used; says why.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        present = {key: value for key, value in table.items() if value is not None}
        present["sites"] = [_without_nulls(site) for site in table.get("sites", [])]
        return build(Comparison, present)
    except SettingsError as error:
        why = "; ".join(error.problems)
    except (ValueError, AttributeError, TypeError):
        why = "it is not a comparison in JSON"
    raise DamagedStateError(f"{path} cannot be used: {why}; run the study again")


def _without_nulls(table: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if value is not None}
