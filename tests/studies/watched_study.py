"""A tiny study with windows: one hospital with three months of patients after the record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tiny_study import SEED, TinyStudy, tiny_scenario, tiny_task

from aggregator.planning import plan_contract
from fedrad.clock import SystemClock
from simulations import premises
from simulations.hospital import HospitalSpec, write_hospital
from simulations.periods import Monitored, Period
from simulations.places import site_folder
from simulations.scenario import Limits
from site_client.round import Site, SiteRuntime
from site_client.settings import Shares

SHARES = Shares(train=0.4, audit=0.2, window=0.3, test=0.1)
MONTHS = tuple(
    Period(first=first, days=28, patients=12, prevalence=0.5)
    for first in ("2024-01-01", "2024-02-01", "2024-03-03")
)
WATCHED = ('monitoring.begins="2024-01-01"', "monitoring.days=31", "monitoring.windows=6")


class OnDay(SystemClock):
    """A machine's clock on another day."""

    def __init__(self, day: str) -> None:
        self._day = datetime.fromisoformat(day).replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the start of the day."""
        return self._day


def watched_study(run: Path, *settings: str, limit: float = 50.0) -> TinyStudy:
    """Write one hospital of 40 patients and three months of 12, and sign the study there."""
    task = tiny_task(*WATCHED, *settings)
    spec = HospitalSpec(name="east", patients=40, size=64, year=2023, periods=MONTHS)
    scenario = tiny_scenario(
        hospitals=(spec,),
        splits=SHARES,
        limits={"east": Limits(epsilon_limit=limit, min_patients=1)},
    )
    monitored = Monitored(premises.split_key_of("east", SEED), SHARES)
    write_hospital(site_folder(run, "east"), spec, seed=SEED, monitored=monitored)
    premises.open_home(run, "east", scenario, task, seed=SEED)
    contract = plan_contract(task, "tiny-study", {"east": 20})
    premises.sign(run, task, contract)
    return TinyStudy(run, task, contract)


def site_on(study: TinyStudy, day: str) -> Site:
    """Start the hospital's program on a day."""
    return Site(SiteRuntime(study.home(), SEED), OnDay(day))
