"""Read one site of a study off one trial, twice: no better than it is, and no worse.

A study with patients, sites, an epsilon or a delta between those that were measured lies
between two cells. The cautious reading has no more than the study: the largest measured cohort
that is not above the mean of its sites, the largest epsilon that is not above its own; and the
site on its own in the smallest cohort that is not below its own. The hopeful reading turns
every step round. What holds even for the cautious one is earned, and what fails even in the
hopeful one is lost, whatever lies between; so each alone answers beyond one end of the table.

With P the score of private training together, F together without privacy, A alone and T
without any skill, each seed has a kept skill (P - T) / (F - T) and a gain P - A. How several
trials make one answer, and what would change it, is ``verdict``'s business. The reasons for
the limits are in ``docs/decisions/0024-verdicts-are-looked-up.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from fedrad.planning.outcomes import Scores, Trial, recipe_of, summarised
from fedrad.task import Task

Answer = Literal["go", "doubtful", "no", "not measured"]

KEPT = 0.9  # share of the skill that "go" keeps at every seed
LOST = 0.5  # share of the skill below which the mean is a "no"
_TIE = 1e-9  # two numbers that differ by less are one


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One site of one study, as far as the table asks."""

    task: Task
    epsilon: float  # what the study costs a training patient
    patients: int  # agreed training patients of the site
    mean_patients: float  # of all sites of the study
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One cell of the table that speaks for or against, with its seeds."""

    answer: Answer
    measure: str
    patients: int  # a site, of the cell
    epsilon: float  # of the cell
    recipe: str  # of the cell
    own_recipe: str  # of the task
    margin: float  # of the task
    alone_patients: int  # of the cohort that trained alone
    seeds: tuple[int, ...]
    private: Scores
    federated: Scores  # without privacy
    alone: Scores
    trivial: Scores
    kept: Scores  # skill kept, a seed
    gain: Scores  # over alone, a seed

    def sentence(self) -> str:
        """Say what was measured, in one line."""
        return (
            f"{self.patients} patients a site at epsilon {self.epsilon:g}, {self.measure} "
            f"{summarised(self.private)}; without privacy {summarised(self.federated)}; alone "
            f"with {self.alone_patients} patients {summarised(self.alone)}; {self.balance()}"
        )

    def balance(self) -> str:
        """Say what is kept of the skill, and how it stands beside training alone."""
        gain = fmean(self.gain)
        beside = f"{abs(gain):.3f} {'above' if gain > 0 else 'below'}"
        place = beside if abs(gain) >= 0.0005 else "level with"
        return f"keeps {100 * fmean(self.kept):.0f} % of the skill, {place} alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What one trial says about one site."""

    answer: Answer
    trial: str
    data: str
    cautious: Evidence | None  # absent: the study has less than anything measured
    hopeful: Evidence | None  # absent: it has more
    outside: tuple[str, ...]  # which of its numbers were not measured

    @property
    def nearest(self) -> tuple[Evidence, ...]:
        """The readings there are, the cautious one first; one where both are the same cell."""
        found = [reading for reading in (self.cautious, self.hopeful) if reading is not None]
        return tuple(found[:1] if self.cautious == self.hopeful else found)


def read(trial: Trial, situation: Situation) -> Readings:
    """Read a situation off a trial of its network, image size and start.

    The answer is "go" where the cautious reading is, "no" where the hopeful one is, and
    "doubtful" between two readings, or where they contradict each other; one reading that does
    not decide is "not measured".
    """
    less, more = tuple(_less(trial, situation)), tuple(_more(trial, situation))
    cautious = None if less else _cautious(trial, situation)
    hopeful = None if more else _hopeful(trial, situation)
    return Readings(
        answer=_answer(cautious, hopeful),
        trial=trial.name,
        data=trial.data,
        cautious=cautious,
        hopeful=hopeful,
        outside=(*less, *more),
    )


def judge(kept: Scores, gain: Scores, *, margin: float) -> Answer:
    """Apply the rule to kept skill and gain, one number a seed each.

    "go": at every seed the kept skill is 0.9 or more and the gain is not below -margin;
    "no": at every seed the gain is below -margin, or the mean kept skill is below 0.5;
    "doubtful": anything between.
    """
    lost = [value < -margin - _TIE for value in gain]
    if all(lost) or fmean(kept) < LOST - _TIE:
        return "no"
    if not any(lost) and all(value >= KEPT - _TIE for value in kept):
        return "go"
    return "doubtful"


def pooled_mean(trial: Trial, situation: Situation) -> float:
    """Return the patients a site that would give a trial's sites as many as the study has.

    The mean itself where the study has no more sites than the trial: patients of further
    sites are patients more, and their noise is averaged too.
    """
    return situation.mean_patients * max(1.0, situation.sites / trial.sites)


def span(measured: Sequence[float]) -> str:
    """Write the range of rising numbers: ``50 to 400``, or ``50`` where there is one."""
    low, high = measured[0], measured[-1]
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _answer(cautious: Evidence | None, hopeful: Evidence | None) -> Answer:
    earned = cautious is not None and cautious.answer == "go"
    lost = hopeful is not None and hopeful.answer == "no"
    if earned != lost:
        return "go" if earned else "no"
    return "not measured" if cautious is None or hopeful is None else "doubtful"


def _less(trial: Trial, situation: Situation) -> Iterator[str]:
    """Yield by what a study is worse off than everything that a trial measured."""
    cohorts, epsilons = trial.patients, trial.epsilons
    if situation.sites < trial.sites:
        yield f"{trial.sites} sites were measured, the study has {situation.sites}"
    if situation.mean_patients < cohorts[0] - _TIE:
        yield f"{_cohorts(trial)}, the sites have in the mean {_number(situation.mean_patients)}"
    if situation.patients > cohorts[-1]:
        yield f"{_cohorts(trial)}, the site has {situation.patients}"
    if situation.epsilon < epsilons[0]:
        yield _epsilon(trial, situation)
    if situation.task.privacy.delta < trial.delta:
        yield _delta(trial, situation)


def _more(trial: Trial, situation: Situation) -> Iterator[str]:
    """Yield by what a study is better off than everything that a trial measured."""
    cohorts, epsilons = trial.patients, trial.epsilons
    if pooled_mean(trial, situation) > cohorts[-1] + _TIE:
        mean = f"the sites have in the mean {_number(situation.mean_patients)}"
        more = situation.sites > trial.sites
        sites = f" and are {situation.sites}, not {trial.sites}" if more else ""
        yield f"{_cohorts(trial)}, {mean}{sites}"
    if situation.patients < cohorts[0]:
        yield f"{_cohorts(trial)}, the site has {situation.patients}"
    if situation.epsilon > epsilons[-1]:
        yield _epsilon(trial, situation)
    if situation.task.privacy.delta > trial.delta:
        yield _delta(trial, situation)


def _cautious(trial: Trial, situation: Situation) -> Evidence:
    cell = (
        max(n for n in trial.patients if n <= situation.mean_patients + _TIE),
        max(e for e in trial.epsilons if e <= situation.epsilon),
    )
    own = min(n for n in trial.patients if n >= situation.patients)
    return _evidence(trial, cell, own, task=situation.task)


def _hopeful(trial: Trial, situation: Situation) -> Evidence:
    cell = (
        min(n for n in trial.patients if n >= pooled_mean(trial, situation) - _TIE),
        min(e for e in trial.epsilons if e >= situation.epsilon),
    )
    own = max(n for n in trial.patients if n <= situation.patients)
    return _evidence(trial, cell, own, task=situation.task)


def _evidence(trial: Trial, place: tuple[int, float], own: int, *, task: Task) -> Evidence:
    """Return the cell of a cohort and an epsilon beside sites that train alone on ``own``."""
    cell, base, alone = trial.cell(*place), trial.baseline(place[0]), trial.baseline(own)
    triples = zip(cell.private, base.federated, base.trivial, strict=True)
    kept = tuple((p - t) / (f - t) if f > t else 0.0 for p, f, t in triples)
    gain = tuple(p - a for p, a in zip(cell.private, alone.alone, strict=True))
    return Evidence(
        answer=judge(kept, gain, margin=task.analysis.margin),
        measure=trial.measure,
        patients=cell.patients,
        epsilon=cell.epsilon,
        recipe=cell.recipe,
        own_recipe=recipe_of(task),
        margin=task.analysis.margin,
        alone_patients=own,
        seeds=trial.seeds,
        private=cell.private,
        federated=base.federated,
        alone=alone.alone,
        trivial=base.trivial,
        kept=kept,
        gain=gain,
    )


def _cohorts(trial: Trial) -> str:
    return f"{span(trial.patients)} patients a site were measured"


def _epsilon(trial: Trial, situation: Situation) -> str:
    return f"epsilon {span(trial.epsilons)} was measured, the study costs {situation.epsilon:.3g}"


def _delta(trial: Trial, situation: Situation) -> str:
    return f"delta {trial.delta:g} was measured, the task's is {situation.task.privacy.delta:g}"


def _number(patients: float) -> str:
    return f"{round(patients, 1):g}"
