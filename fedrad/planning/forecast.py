"""Put together what a study would cost and reach, for all of its sites or for one.

Every number comes from another module; this one asks each of them once and keeps the
answers in order. How a person reads them is ``wording``'s business.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from fedrad.contract import agreed_patients
from fedrad.errors import RunError, SettingsError
from fedrad.planning import noise
from fedrad.planning.effort import Effort
from fedrad.planning.noise import SpareCost, Spending
from fedrad.planning.outcomes import Outcomes
from fedrad.planning.precision import (
    Guess,
    Precision,
    enough_patients,
    expected_precision,
    pooled_precision,
    primary,
)
from fedrad.planning.readings import Situation
from fedrad.planning.traffic import Traffic
from fedrad.planning.verdict import Verdict, verdict
from fedrad.settings import refuse_problems
from fedrad.task import Task, is_evaluation_round, task_hash

AUDIT_FOR_TRAINING = 0.15 / 0.70  # audit patients for each training patient: site.toml's shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """How many patients a site has in two of its splits."""

    train: int
    audit: int

    @property
    def agreed(self) -> int:
        """Training patients as the contract rounds them."""
        return agreed_patients(self.train)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person asks beyond the task."""

    guess: Guess = field(default_factory=Guess)
    noise: float | None = None  # a noise multiplier whose epsilon is asked for

    def __post_init__(self) -> None:
        refuse_problems("--noise", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.noise is not None and not 0 < self.noise < math.inf:
            yield (
                f"a noise multiplier must be greater than 0 and finite, got {self.noise:g}: "
                "without noise no epsilon holds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteForecast:
    """One site's part; patients are agreed numbers, never exact ones."""

    site: str
    patients_agreed: int
    training: Spending
    spare: SpareCost | None
    asked: Spending | None  # at the noise that was asked for
    precision: Precision  # of each release
    verdict: Verdict
    problems: tuple[str, ...]  # why a site's guard would refuse

    @property
    def hopeless(self) -> bool:
        """Whether the answer is no: by the measured table, or because no guard would agree."""
        return bool(self.problems) or self.verdict.answer == "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The whole study."""

    task: str
    task_hash: str
    epsilon: float
    delta: float
    private: bool
    releases: tuple[int, ...]  # rounds after which metrics are released
    release: Spending  # what they cost an audit patient
    metric: str
    guess: Guess
    sites: tuple[SiteForecast, ...]
    enough_audit: int | None  # patients for an estimate; only asked where a site has none
    pooled: Precision | None  # of all sites together; absent for one site's own view
    traffic: Traffic
    effort: Effort

    @property
    def hopeless(self) -> bool:
        """Whether the answer is no for every site."""
        return all(site.hopeless for site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured for a forecast, by the side that asks for it."""

    outcomes: Outcomes
    traffic: Traffic
    effort: Effort


def study_forecast(
    task: Task, cohorts: Mapping[str, Cohort], measured: Measured, *, wishes: Wishes
) -> Forecast:
    """Return the forecast of a whole study.

    Args:
        task: The study's task.
        cohorts: Site name to its patients.
        measured: Table, messages and time.
        wishes: What else is asked.

    Raises:
        RunError: A site has no training patient, or there are fewer sites than the quorum.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    quorum = task.federation.quorum
    if len(cohorts) < quorum:
        raise RunError(
            f"{len(cohorts)} sites are below the task's quorum of {quorum}: no round could be "
            "aggregated; name more sites"
        )
    agreed = [cohort.agreed for cohort in cohorts.values()]
    sigma = noise.audit_sigma(task)
    audits = [float(cohort.audit) for cohort in cohorts.values()]
    return _assembled(
        task,
        [
            _site(task, site, cohorts[site], measured, wishes=wishes, study=agreed)
            for site in cohorts
        ],
        measured,
        wishes=wishes,
        pooled=pooled_precision(task, audits, sigma=sigma, guess=wishes.guess),
    )


def site_forecast(
    task: Task,
    site: tuple[str, Cohort],
    measured: Measured,
    *,
    wishes: Wishes,
    others: Sequence[int],
) -> Forecast:
    """Return the forecast as one site sees it.

    Args:
        task: The study's task.
        site: Its name and its patients.
        measured: As for ``study_forecast``.
        wishes: As for ``study_forecast``.
        others: Agreed training patients of the other sites; empty: as many sites as the
            quorum, all like this one.

    Raises:
        RunError, PrivacyError: As for ``study_forecast``.
    """
    name, cohort = site
    own = cohort.agreed
    study = [own, *others] if others else [own] * task.federation.quorum
    found = _site(task, name, cohort, measured, wishes=wishes, study=study)
    return _assembled(task, [found], measured, wishes=wishes, pooled=None)


def refuse_patients(option: str, patients: Sequence[int], *, least: int) -> None:
    """Refuse numbers of patients that no study could have, before anything is measured.

    Args:
        option: The option that they came from.
        patients: Training patients, one number a site.
        least: Sites that there must be.

    Raises:
        SettingsError: Too few sites, or one without a patient.
    """
    lines = []
    if len(patients) < least:
        lines.append(
            f"{len(patients)} of at least {least} sites: below its quorum no round of the task "
            "can be aggregated; name more sites"
        )
    if 0 in patients:
        lines.append("a site without a training patient cannot take part; leave it out")
    if lines:
        raise SettingsError(option, tuple(lines))


def as_table(forecast: Forecast) -> dict[str, Any]:
    """Return the forecast as one JSON object; an infinite epsilon is null."""
    table = dataclasses.asdict(forecast)
    table["effort"] |= {"round_s": forecast.effort.round_s, "scaled": forecast.effort.scaled}
    table["traffic"] |= {
        "round_up": forecast.traffic.round_up,
        "round_down": forecast.traffic.round_down,
        "study": forecast.traffic.study,
    }
    return finite(table)  # type: ignore[no-any-return]


def finite(value: Any) -> Any:
    """Return a table, or a part of one, in which every number that is not finite is null."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _site(  # noqa: PLR0913  # one argument for each thing that a site's part depends on
    task: Task,
    site: str,
    cohort: Cohort,
    measured: Measured,
    *,
    wishes: Wishes,
    study: Sequence[int],
) -> SiteForecast:
    if cohort.agreed < 1:
        raise RunError(f"site {site!r} has no training patient; leave it out of the study")
    sigma = noise.train_sigma(task, cohort.agreed)
    training = noise.training(task, cohort.agreed, sigma=sigma)
    planned = task.privacy.noise_multiplier is None
    situation = Situation(
        task=task,
        epsilon=task.privacy.epsilon if planned else training.epsilon,
        patients=cohort.agreed,
        mean_patients=fmean(study),
        sites=len(study),
    )
    audit = noise.audit_sigma(task)
    return SiteForecast(
        site=site,
        patients_agreed=cohort.agreed,
        training=training,
        spare=noise.spare_cost(task, cohort.agreed, sigma=sigma),
        asked=None
        if wishes.noise is None
        else noise.training(task, cohort.agreed, sigma=wishes.noise),
        precision=expected_precision(task, cohort.audit, sigma=audit, guess=wishes.guess),
        verdict=verdict(situation, measured.outcomes),
        problems=tuple(_problems(task, cohort.agreed, training)),
    )


def _assembled(
    task: Task,
    sites: list[SiteForecast],
    measured: Measured,
    *,
    wishes: Wishes,
    pooled: Precision | None,
) -> Forecast:
    rounds, sigma = range(1, task.federation.rounds + 1), noise.audit_sigma(task)
    dull = any(site.precision.half_width is None for site in sites)
    return Forecast(
        task=task.task.name,
        task_hash=task_hash(task),
        epsilon=task.privacy.epsilon,
        delta=task.privacy.delta,
        private=task.privacy.enabled,
        releases=tuple(number for number in rounds if is_evaluation_round(task, number)),
        release=noise.releases(task, sigma=sigma),
        metric=primary(task),
        guess=wishes.guess,
        sites=tuple(sites),
        enough_audit=enough_patients(task, sigma=sigma, guess=wishes.guess) if dull else None,
        pooled=pooled,
        traffic=measured.traffic,
        effort=measured.effort,
    )


def _problems(task: Task, agreed: int, training: Spending) -> Iterator[str]:
    privacy = task.privacy
    if not privacy.enabled:
        yield "the task is not private: only a simulation may run it"
        return
    if task.exact:
        yield "the task releases exact metrics: only a simulation may run it"
    if privacy.delta * agreed >= 1:
        yield f"delta {privacy.delta:g} is not below 1 / {agreed} patients: ask for a smaller one"
    if training.epsilon > privacy.epsilon:
        yield (
            f"noise {training.sigma:g} costs epsilon {training.epsilon:.2f}, over the task's "
            f"{privacy.epsilon:g}: the sites will stop before the last round"
        )
