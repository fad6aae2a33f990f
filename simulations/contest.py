"""What hostile hospitals do to a federation: the same study three times, site by site.

With the task's rule, with the plain mean that most federations use, and undisturbed: the
hostile hospitals are honest. Scored are the honest hospitals' own test patients, straight
from their files: simulation only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedrad import durable
from fedrad.settings import as_table, build
from simulations.plan import Plan

if TYPE_CHECKING:
    from fedrad.contract import Contract

NAME = "contest.json"
FOLDER = "contest"  # in the run folder: the other two studies
SAID = {"undisturbed": "every hospital honest", "mean": "with the plain mean"}
PLAIN_MEAN = {"name": "mean", "clip": 1e9, "ceiling": 1e9}  # nothing shortened or set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScores:
    """One honest hospital's primary metric under the three models."""

    site: str
    n: int  # test patients
    undisturbed: float
    rule: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What ``contest.json`` holds."""

    metric: str
    rule: str  # what the task's rule is called
    hostile: dict[str, str]  # site -> attack
    sites: tuple[SiteScores, ...]


def others(plan: Plan) -> dict[str, Plan]:
    """Return the two studies that the run is held against."""
    federation = plan.task.federation
    rule = replace(federation.rule, **PLAIN_MEAN)  # type: ignore[arg-type]  # its own fields
    plain = replace(plan.task, federation=replace(federation, rule=rule))
    honest = replace(plan.scenario, hostile={})
    folder = plan.run / FOLDER
    return {
        "undisturbed": replace(plan, scenario=honest, run=folder / "undisturbed", baselines=False),
        "mean": replace(plan, task=plain, run=folder / "mean", baselines=False),
    }


def score(plan: Plan, contract: Contract) -> Contest:
    """Score the last models of the three studies and write ``contest.json``.

    Raises:
        RunError: One of them has no finished round.
    """
    from simulations import comparison
    from simulations.arms import Study
    from simulations.baselines import quality, site_source, values_of

    study = Study(task=plan.task, contract=contract, seed=plan.seed)
    runs = {name: other.run for name, other in others(plan).items()} | {"rule": plan.run}
    models = {name: comparison.final_model(run) for name, run in runs.items()}
    found = []
    for site in sorted(contract.sites.keys() - plan.scenario.hostile.keys()):
        source = site_source(plan.run, study, site, "test")
        scores = {
            name: quality(study, values_of(study, model, source), source)
            for name, model in models.items()
        }
        found.append(SiteScores(site=site, n=len(source), **scores))
    contest = Contest(
        metric=comparison.primary(plan.task),
        rule=plan.task.federation.rule.chosen(len(contract.trainers)),
        hostile=dict(plan.scenario.hostile),
        sites=tuple(found),
    )
    durable.write_json(plan.run / NAME, as_table(contest))
    return contest


def read_contest(run: Path) -> Contest | None:
    """Return what a hostile study ended with; ``None`` for any other."""
    path = run / NAME
    if not path.exists():
        return None
    return build(Contest, json.loads(path.read_text(encoding="utf-8")))


def lines(contest: Contest) -> Iterator[str]:
    """Yield the table that the command ends with."""
    who = ", ".join(f"{site} ({attack})" for site, attack in sorted(contest.hostile.items()))
    name = {"auroc": "AUROC", "dice_mean": "mean Dice"}[contest.metric]
    yield f"{name} of each honest hospital's test patients; hostile: {who}"
    yield f"{'':14} {'undisturbed':>12} {contest.rule:>17} {'plain mean':>11}"
    for site in contest.sites:
        values = f"{site.undisturbed:12.3f} {site.rule:17.3f} {site.mean:11.3f}"
        yield f"{site.site:14} {values}"
