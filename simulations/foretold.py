"""What planning foretold for a simulated study, beside what the study then measured.

The forecast is that of ``fedrad-aggregator plan`` on the contract's agreed patients: it knows
the table of measured outcomes and nothing of this run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from aggregator.facts import Fact
from aggregator.plan import plan_study
from fedrad.contract import Contract
from fedrad.planning.forecast import Forecast, Wishes
from fedrad.task import read_task


def foretold(run: Path, contract: Contract) -> Iterator[Fact]:
    """Yield the forecast of a private study; nothing for one without privacy."""
    path = run / "task.toml"
    if not path.exists() or not read_task(path).privacy.enabled:
        return
    sites = sorted(contract.sites)
    patients = [contract.sites[site].patients_agreed for site in sites]
    forecast = plan_study(path, patients, wishes=Wishes())
    listed = ",".join(map(str, patients))
    yield Fact(
        key="foretold",
        text=f"{_answers(forecast, sites)} {_precision(forecast)}",
        command=f"fedrad-aggregator plan --task {path} --patients {listed}",
    )


def _answers(forecast: Forecast, sites: list[str]) -> str:
    by_answer: dict[str, list[str]] = defaultdict(list)
    for site, planned in zip(sites, forecast.sites, strict=True):
        by_answer[planned.verdict.answer].append(site)
    said = "; ".join(f"{answer} for {', '.join(names)}" for answer, names in by_answer.items())
    return f"From the agreed patients alone, planning foretells: {said}."


def _precision(forecast: Forecast) -> str:
    pooled = forecast.pooled.half_width if forecast.pooled else None
    metric = forecast.metric.upper() if forecast.metric == "auroc" else forecast.metric
    if pooled is None:
        return f"Each release says too little for an interval of the pooled {metric}."
    return f"Each release knows the pooled {metric} to ± {pooled:.2f}."
