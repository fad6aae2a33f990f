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
from simulations.attacks import BACKDOOR
from simulations.places import home_of
from simulations.plan import Plan

if TYPE_CHECKING:
    from fedrad.contract import Contract
    from fedrad.parameters import Parameters
    from simulations.arms import Study
    from site_client.training.source import PatientSource

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
    marked: tuple[SiteScores, ...] = ()  # where positive patients carry a backdoor's mark


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
    from simulations.baselines import site_source
    from simulations.marks import MarkedPositives
    from site_client.dataset import load_split

    study = Study(task=plan.task, contract=contract, seed=plan.seed)
    runs = {name: other.run for name, other in others(plan).items()} | {"rule": plan.run}
    models = {name: comparison.final_model(run) for name, run in runs.items()}
    honest = sorted(contract.sites.keys() - plan.scenario.hostile.keys())
    plain = {site: site_source(plan.run, study, site, "test") for site in honest}
    shown: dict[str, PatientSource] = {}
    if BACKDOOR in plan.scenario.hostile.values():
        for site in honest:
            test = load_split(home_of(plan.run, site), plan.task, "test")
            shown[site] = MarkedPositives(test, positive=plan.task.positive_index)
    contest = Contest(
        metric=comparison.primary(plan.task),
        rule=plan.task.federation.rule.chosen(len(contract.trainers)),
        hostile=dict(plan.scenario.hostile),
        sites=_scores(study, models, plain),
        marked=_scores(study, models, shown),
    )
    durable.write_json(plan.run / NAME, as_table(contest))
    return contest


def _scores(
    study: Study, models: dict[str, Parameters], sources: dict[str, PatientSource]
) -> tuple[SiteScores, ...]:
    """Score each source under each model: the primary metric."""
    from simulations.baselines import quality, values_of

    found = []
    for site, source in sources.items():
        scores = {
            name: quality(study, values_of(study, model, source), source)
            for name, model in models.items()
        }
        found.append(SiteScores(site=site, n=len(source), **scores))
    return tuple(found)


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
    yield from _table(contest.rule, contest.sites)
    if contest.marked:
        yield f"{name} where the images of each positive patient carry the mark of the backdoor"
        yield from _table(contest.rule, contest.marked)


def _table(rule: str, sites: tuple[SiteScores, ...]) -> Iterator[str]:
    yield f"{'':14} {'undisturbed':>12} {rule:>17} {'plain mean':>11}"
    for site in sites:
        values = f"{site.undisturbed:12.3f} {site.rule:17.3f} {site.mean:11.3f}"
        yield f"{site.site:14} {values}"
