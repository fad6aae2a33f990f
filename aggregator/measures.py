"""The metrics of a run in the shapes that a reader looks at them.

Reads the rows of ``metrics`` for the federated model: curves over releases per site, the
last release as a table, and the sums over sites. What was not measured stays ``None``; it
is never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.lineage import lineage
from aggregator.run_folder import Row, Run
from fedrad.metrics.names import NAMES

CALIBRATION = ("oe_ratio", "calibration_slope", "temperature", "brier", "ece")
COUNTS = ("n",)
SUMMARIES = {"worst": "Worst site", "macro": "Mean of the sites", "*": "All patients together"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One measured value with its interval, if it has one.

    The value is NaN where a site reported and its sums cannot carry the metric.
    """

    value: float
    lo: float | None
    hi: float | None
    n: float | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One site's metric at every release: (round, value) in round order."""

    site: str
    points: tuple[tuple[int, Value], ...]


def primary(run: Run) -> str:
    """Return the metric that the plan names, or the one that was measured most often."""
    planned = run.task.analysis.primary if run.task else ""
    present = [str(row["metric"]) for row in _rows(run) if row["metric"] not in COUNTS]
    if planned in present or not present:
        return planned
    return max(sorted(set(present)), key=present.count)


def curves(run: Run, metric: str) -> tuple[Curve, ...]:
    """Return one curve for each site, in reader's order; a site without any is left out."""
    found = []
    for site in run.sites:
        rows = [row for row in _rows(run) if row["site"] == site and row["metric"] == metric]
        ordered = sorted(rows, key=lambda row: int(row["round"]))
        points = [(int(row["round"]), _value(row)) for row in ordered]
        kept = tuple((number, value) for number, value in points if math.isfinite(value.value))
        if kept:
            found.append(Curve(site=site, points=kept))
    return tuple(found)


def columns(run: Run) -> tuple[str, ...]:
    """Return the metrics that were measured: the plan's first, then known, then others."""
    present = {str(row["metric"]) for row in _rows(run)} - set(COUNTS)
    known = [primary(run), *NAMES]
    return tuple(sorted(present, key=lambda m: (known.index(m) if m in known else 99, m)))


def groups(run: Run) -> tuple[tuple[str, ...], ...]:
    """Return ``columns`` as tables that fit a page: what a model gets right, how it is calibrated.

    A table without a column is left out.
    """
    names = columns(run)
    parts = (
        tuple(name for name in names if name not in CALIBRATION),
        tuple(name for name in names if name in CALIBRATION),
    )
    return tuple(part for part in parts if part)


def last_release(run: Run) -> int | None:
    """Return the round of the last release of a model that the run stands on, if there was any.

    A round that was held, or left by a rollback, was measured too; its model is not the run's.
    """
    left = lineage(run.tables["rounds"], run.tables["events"]).left
    return max((n for row in _rows(run) if (n := int(row["round"])) not in left), default=None)


def patients(row: Mapping[str, Value]) -> float | None:
    """Return how many patients are behind one site's release, noise included."""
    if "n" in row and math.isfinite(row["n"].value):
        return row["n"].value
    return next((value.n for value in row.values() if value.n is not None), None)


def at_release(run: Run, site: str, round_number: int | None) -> dict[str, Value]:
    """Return every metric of one site, or of ``*``, ``macro``, ``worst``, at one release."""
    return {
        row["metric"]: _value(row)
        for row in _rows(run)
        if row["site"] == site and row["round"] == round_number
    }


def _rows(run: Run) -> list[Row]:
    rows = [row for row in run.tables["metrics"] if row["model"] == "global"]
    splits = {str(row["split"]) for row in rows}
    wanted = "audit" if "audit" in splits else min(splits, default="")
    return [row for row in rows if row["split"] == wanted]


def _value(row: Row) -> Value:
    return Value(
        value=math.nan if row["value"] is None else float(row["value"]),
        lo=row["lo"],
        hi=row["hi"],
        n=row["n"],
        method=row["method"] or "",
    )
