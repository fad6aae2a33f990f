"""Several sites' feasibility records side by side, and the plan that follows from them.

A record is what a site chose to tell before a contract (``fedrad.feasibility``). Each number
has a 95 % interval for its noise. The study is then planned three times: with the counts
that are estimated, and with every count at the lower and at the upper end of its interval.
Nothing here says who sent a file: a coordinator knows that from how it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aggregator.plan import measure
from fedrad.contract import agreed_patients
from fedrad.errors import SettingsError
from fedrad.feasibility.cells import SPLITS, UNLABELLED, event, labels_of, layout
from fedrad.feasibility.estimates import Estimate, count, share
from fedrad.feasibility.record import Record, read_record
from fedrad.metrics.metric import SMALLEST_SHOWN
from fedrad.planning.forecast import Cohort, Forecast, Wishes, study_forecast
from fedrad.planning.precision import Guess
from fedrad.planning.readings import Answer
from fedrad.privacy.accounting import epsilon
from fedrad.protocol.messages import Block
from fedrad.task import Task, read_task, task_hash

Level = Literal["lower", "estimate", "upper"]
LEVELS: tuple[Level, ...] = ("lower", "estimate", "upper")
_RAREST = 0.02  # a positive share is planned for between this and its complement


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What one record tells, with 95 % intervals."""

    site: str
    number: int  # of the site's records for the task; those before were charged too
    noise: float
    epsilon: float  # of this record alone, at the task's delta
    patients: Estimate
    labels: Mapping[str, Estimate]  # patients by label
    labelled: Estimate | None  # share of all patients
    train: Estimate  # labelled patients
    audit: Estimate
    vendors: Mapping[str, Estimate]
    views: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAnswer:
    """One site: what it told and what would become of it."""

    numbers: Numbers
    agreed: int  # proposed for the contract, as it rounds; 0: under 10 to train on
    answers: Mapping[Level, Answer]

    @property
    def answer(self) -> Answer:
        """The answer at all three levels, or doubtful where they differ."""
        found = set(self.answers.values())
        return found.pop() if len(found) == 1 else "doubtful"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feasibility:
    """All sites, and the study that they would make."""

    task: str
    task_hash: str
    delta: float
    sites: tuple[SiteAnswer, ...]
    plans: Mapping[Level, Forecast | None]  # absent: fewer sites than the quorum
    quorum: int

    @property
    def hopeless(self) -> bool:
        """Whether the answer is no for every site."""
        return all(site.answer == "no" for site in self.sites)


def read_feasibility(
    records: Sequence[Path], task_path: Path, *, quality: float = 0.85
) -> Feasibility:
    """Read the records of all sites and plan the study.

    Args:
        records: One file a site.
        task_path: The study's ``task.toml``.
        quality: AUROC or Dice to plan intervals for.

    Raises:
        DamagedStateError: A file is no whole record; names it.
        SettingsError: Records of another task, or two of one site; all are named.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    task = read_task(task_path)
    found = [read_record(path) for path in records]
    _refuse_mixed(records, found, task)
    numbers = [read_numbers(record, task) for record in sorted(found, key=lambda one: one.site)]
    plans = _plans(task, numbers, quality=quality)
    return Feasibility(
        task=task.task.name,
        task_hash=task_hash(task),
        delta=task.privacy.delta,
        sites=tuple(_answered(one, plans) for one in numbers),
        plans=plans,
        quorum=task.federation.quorum,
    )


def read_numbers(record: Record, task: Task) -> Numbers:
    """Return what a record of this task tells."""
    patients, vendors, views = record.blocks(task)
    known = [label for label in labels_of(task) if label != UNLABELLED]
    labelled = _cells(task, labels=known)
    unlabelled = _cells(task, labels=[UNLABELLED])
    return Numbers(
        site=record.site,
        number=record.number,
        noise=record.noise,
        epsilon=epsilon([event(record.noise)], task.privacy.delta),
        patients=count(patients, [*labelled, *unlabelled]),
        labels={label: count(patients, _cells(task, labels=[label])) for label in labels_of(task)},
        labelled=share(patients, labelled, unlabelled),
        train=count(patients, _cells(task, labels=known, splits=["train"])),
        audit=count(patients, _cells(task, labels=known, splits=["audit"])),
        vendors=_named(task, vendors),
        views=_named(task, views),
    )


def _refuse_mixed(paths: Sequence[Path], records: Sequence[Record], task: Task) -> None:
    problems, seen = [], dict[str, Path]()
    for path, record in zip(paths, records, strict=True):
        if record.task_hash != task_hash(task):
            problems.append(
                f"{path} is of the task {record.task_hash[:12]}, not {task_hash(task)[:12]}"
            )
        elif record.site in seen:
            problems.append(f"{path} is of site {record.site}, as {seen[record.site]} is")
        seen.setdefault(record.site, path)
    if problems:
        raise SettingsError("the records", tuple(problems))


def _cells(task: Task, *, labels: Sequence[str], splits: Sequence[str] = SPLITS) -> list[int]:
    names = layout(task)["patients"]
    return [names.index(f"{split} {label}") for split in splits for label in labels]


def _named(task: Task, block: Block) -> dict[str, Estimate]:
    return {name: count(block, [place]) for place, name in enumerate(layout(task)[block.name])}


def _plans(
    task: Task, numbers: Sequence[Numbers], *, quality: float
) -> dict[Level, Forecast | None]:
    cohorts = {level: _cohorts(numbers, level) for level in LEVELS}
    enough = {level for level in LEVELS if len(cohorts[level]) >= task.federation.quorum}
    if not enough:
        return dict.fromkeys(LEVELS)
    wishes = Wishes(guess=Guess(quality=quality, prevalence=_prevalence(task, numbers)))
    known = measure(task, cohorts["upper"])
    return {
        level: study_forecast(task, cohorts[level], known, wishes=wishes)
        if level in enough
        else None
        for level in LEVELS
    }


def _cohorts(numbers: Sequence[Numbers], level: Level) -> dict[str, Cohort]:
    """Return the sites with enough to train on that a number may be shown, at one level."""
    found = {one.site: (_at(one.train, level), _at(one.audit, level)) for one in numbers}
    return {
        site: Cohort(train=train, audit=audit) for site, (train, audit) in found.items() if train
    }


def _at(estimate: Estimate, level: Level) -> int:
    """Return a number of patients; 0 under ``SMALLEST_SHOWN``: a plan would show it."""
    at = {"lower": estimate.lo, "estimate": estimate.value, "upper": estimate.hi}[level]
    return round(at) if at >= SMALLEST_SHOWN else 0


def _prevalence(task: Task, numbers: Sequence[Numbers]) -> float:
    """Return the positive share of all labelled patients; an even one where none is classed."""
    values = [{label: max(0.0, e.value) for label, e in one.labels.items()} for one in numbers]
    labelled = sum(v for one in values for label, v in one.items() if label != UNLABELLED)
    if task.task.kind != "classification" or labelled == 0:
        return 0.5
    positive = sum(one[task.task.positive] for one in values) / labelled
    return round(min(max(positive, _RAREST), 1 - _RAREST), 2)


def _answered(numbers: Numbers, plans: Mapping[Level, Forecast | None]) -> SiteAnswer:
    return SiteAnswer(
        numbers=numbers,
        agreed=agreed_patients(_at(numbers.train, "estimate")),
        answers={level: _answer(numbers.site, plans[level]) for level in LEVELS},
    )


def _answer(site: str, plan: Forecast | None) -> Answer:
    """Return what a plan says of a site; one that cannot take part, or alone, gets a no."""
    found = next((one for one in plan.sites if one.site == site), None) if plan else None
    if found is None or found.hopeless:
        return "no"
    return found.verdict.answer
