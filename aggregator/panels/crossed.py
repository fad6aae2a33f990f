"""Whose model works where: local models at every hospital, and the last model without one's part.

Reads the exact rows of a simulation: ``alone`` models on the test patients of ``data_site``, and
the splits ``with-own`` and ``without-own`` of the last round's model. A real study has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from aggregator.run_folder import Row, Run

SPLITS = ("with-own", "without-own")


@dataclass(frozen=True, slots=True)
class Crossed:
    """The matrix by (whose model, whose patients), the second table by site, and sentences."""

    metric: str
    models: tuple[str, ...]
    patients: tuple[str, ...]
    values: Mapping[tuple[str, str], float | None]
    said: str
    parts: Mapping[str, tuple[float | None, float | None]]  # with its own part, without it
    parts_said: str


def crossed(run: Run) -> Crossed | None:
    """Return both tables; ``None`` where no model was scored at another hospital."""
    rows = [r for r in run.tables["metrics"] if r["model"] == "alone" and r["split"] == "test"]
    values = {(str(r["site"]), str(r["data_site"])): r["value"] for r in rows}
    if not any(site != data for site, data in values):
        return None
    parts = _parts(run)
    return Crossed(
        metric=str(rows[0]["metric"]),
        models=tuple(site for site in run.sites if any(site == model for model, _ in values)),
        patients=tuple(site for site in run.sites if any(site == data for _, data in values)),
        values=values,
        said=_said(run, values),
        parts=parts,
        parts_said=_parts_said(run, parts),
    )


def _parts(run: Run) -> dict[str, tuple[float | None, float | None]]:
    rows: dict[tuple[str, str], Row] = {
        (str(r["site"]), str(r["split"])): r
        for r in run.tables["metrics"]
        if r["model"] == "global" and r["split"] in SPLITS
    }
    whole, without = SPLITS
    return {
        site: (rows[site, whole]["value"], rows[site, without]["value"])
        for site in run.sites
        if (site, whole) in rows and (site, without) in rows
    }


def _said(run: Run, values: Mapping[tuple[str, str], float | None]) -> str:
    """Say what models are worth at home and elsewhere, and where one is worth least."""
    home = [value for (site, data), value in values.items() if value is not None and site == data]
    away = {key: v for key, v in values.items() if v is not None and key[0] != key[1]}
    if not home or not away:
        return "Too few test patients of a class to score a model at another hospital."
    site, data = min(away, key=lambda key: away[key])
    return (
        f"A hospital's own model is worth {fmean(home):.3f} at home and {fmean(away.values()):.3f} "
        f"at the others on average; least is that of {run.label(site)} at {run.label(data)}, "
        f"{away[site, data]:.3f}."
    )


def _parts_said(run: Run, parts: Mapping[str, tuple[float | None, float | None]]) -> str:
    changes = {
        site: whole - without
        for site, (whole, without) in parts.items()
        if whole is not None and without is not None
    }
    if not changes:
        return ""
    site = max(changes, key=lambda one: abs(changes[one]))
    return (
        f"Its own part of the last round changes what the model is worth most at {run.label(site)}"
        f", by {changes[site]:+.3f}: an estimate, since what a hospital taught in earlier rounds "
        "stays in the model."
    ).replace(" by -", " by −")
