"""Go, doubtful, no or not measured: what the measured table says about one site of a study.

A study is read off a cell that is no better than itself: the largest measured cohort that
is not above the mean of the study's sites, the largest measured epsilon that is not above
the task's, the same network, image size and start, three sites. A site is compared with
training alone in the smallest measured cohort that is not below its own. Outside what was
measured the answer is "not measured".

With P the score of private training together, F together without privacy, A alone and T
without any skill, each seed has a kept skill (P - T) / (F - T) and a gain P - A. ``margin``
is the task's own: the difference that matters.

- go: at every seed the kept skill is 0.9 or more and the gain is not below -margin;
- no: at every seed the gain is below -margin, or the mean kept skill is below 0.5;
- doubtful: anything between.

The reasons for these limits are in ``docs/decisions/0024-verdicts-are-looked-up.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from fedrad.planning.outcomes import (
    Outcomes,
    Scores,
    Trial,
    full_parameters,
    recipe_of,
    same_network,
    start_of,
    summarised,
)
from fedrad.task import Task

Answer = Literal["go", "doubtful", "no", "not measured"]

KEPT = 0.9  # share of the skill that "go" keeps at every seed
LOST = 0.5  # share of the skill below which the mean is a "no"
_TIE = 1e-9  # two numbers that differ by less are one
_RANK: dict[Answer, int] = {"not measured": -1, "no": 0, "doubtful": 1, "go": 2}


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
    trial: str
    data: str
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
        """Say what was measured."""
        return (
            f"{self.measure} {summarised(self.private)} on {self.data} with {self.patients} "
            f"patients a site at epsilon {self.epsilon:g}, seeds {_listed(self.seeds)}; without "
            f"privacy {summarised(self.federated)}; alone with {self.alone_patients} patients "
            f"{summarised(self.alone)}; {self.balance()}"
        )

    def balance(self) -> str:
        """Say what is kept of the skill, and how it stands beside training alone."""
        gain = fmean(self.gain)
        beside = f"{abs(gain):.3f} {'above' if gain > 0 else 'below'}"
        place = beside if abs(gain) >= 0.0005 else "level with"
        return f"keeps {100 * fmean(self.kept):.0f} % of the skill, {place} alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer for one site and everything behind it."""

    answer: Answer
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    changes: tuple[str, ...] = ()  # what would give a better answer, as measured


def verdict(situation: Situation, outcomes: Outcomes) -> Verdict:
    """Look a site up; the worst of several fitting trials counts."""
    task = situation.task
    if not task.privacy.enabled:
        return _unknown("the task is without privacy; the table is about private training")
    trials = [trial for trial in outcomes.trials if same_network(trial, task)]
    if not trials:
        return _unknown(f"no trial has the network {task.model.name} with these parameters")
    problems = {
        trial.name: [*_foreign(trial, task), *_outside(trial, situation)] for trial in trials
    }
    fitting = [trial for trial in trials if not problems[trial.name]]
    if not fitting:
        return _unknown(*dict.fromkeys(problems[trial.name][0] for trial in trials))
    found = [_evidence(trial, situation) for trial in fitting]
    worst = min(found, key=lambda evidence: _RANK[evidence.answer])
    return Verdict(
        answer=worst.answer,
        reasons=tuple(map(_reason, found)),
        evidence=tuple(found),
        changes=tuple(_changes(outcomes, fitting[found.index(worst)], situation)),
    )


def judge(kept: Scores, gain: Scores, *, margin: float) -> Answer:
    """Apply the rule to kept skill and gain, one number a seed each."""
    lost = [value < -margin - _TIE for value in gain]
    if all(lost) or fmean(kept) < LOST - _TIE:
        return "no"
    if not any(lost) and all(value >= KEPT - _TIE for value in kept):
        return "go"
    return "doubtful"


def _unknown(*reasons: str) -> Verdict:
    return Verdict(answer="not measured", reasons=reasons)


def _foreign(trial: Trial, task: Task) -> Iterator[str]:
    """Yield why a trial is about other images, weights or promises than a task."""
    if trial.size != task.recipe.size:
        here, there = _shape(task.recipe.size), _shape(trial.size)
        yield f"{trial.network} was measured on images of {there}, the task's are {here}"
    if trial.start != start_of(task):
        yield f"{trial.network} was measured from another start: {_start(trial)}"
    if task.privacy.delta < trial.delta:
        yield f"delta {task.privacy.delta:g} is below the measured {trial.delta:g}"


def _outside(trial: Trial, situation: Situation) -> Iterator[str]:
    """Yield which of a study's numbers lie outside what a trial measured."""
    if situation.sites < trial.sites:
        yield f"{trial.sites} sites were measured, the study has {situation.sites}"
    fewest, most = trial.patients[0], trial.patients[-1]
    for whose, patients in (
        ("the site has", situation.patients),
        ("the sites have in the mean", situation.mean_patients),
    ):
        if not fewest <= patients <= most:
            number = f"{round(patients, 1):g}"
            yield f"{fewest} to {most} patients a site were measured, {whose} {number}"
    low, high = trial.epsilons[0], trial.epsilons[-1]
    if not low <= situation.epsilon <= high:
        yield f"epsilon {low:g} to {high:g} was measured, the study costs {situation.epsilon:.3g}"


def _evidence(trial: Trial, situation: Situation) -> Evidence:
    """Return the cell that speaks for a situation inside what the trial measured."""
    together = max(n for n in trial.patients if n <= situation.mean_patients)
    own = min(n for n in trial.patients if n >= situation.patients)
    epsilon = max(e for e in trial.epsilons if e <= situation.epsilon)
    cell, base = trial.cell(together, epsilon), trial.baseline(together)
    alone = trial.baseline(own)
    triples = zip(cell.private, base.federated, base.trivial, strict=True)
    kept = tuple((p - t) / (f - t) if f > t else 0.0 for p, f, t in triples)
    gain = tuple(p - a for p, a in zip(cell.private, alone.alone, strict=True))
    return Evidence(
        answer=judge(kept, gain, margin=situation.task.analysis.margin),
        trial=trial.name,
        data=trial.data,
        measure=trial.measure,
        patients=together,
        epsilon=epsilon,
        recipe=cell.recipe,
        own_recipe=recipe_of(situation.task),
        margin=situation.task.analysis.margin,
        alone_patients=own,
        seeds=trial.seeds,
        private=cell.private,
        federated=base.federated,
        alone=alone.alone,
        trivial=base.trivial,
        kept=kept,
        gain=gain,
    )


def _reason(evidence: Evidence) -> str:
    line = f"{evidence.answer}: {evidence.sentence()} (margin {evidence.margin:g})"
    if evidence.recipe != evidence.own_recipe:
        line += f"; measured with {evidence.recipe}, the task has {evidence.own_recipe}"
    return line


def _changes(outcomes: Outcomes, trial: Trial, situation: Situation) -> Iterator[str]:
    """Yield, for each thing that could be changed alone, the least change that was better."""
    before = _RANK[_evidence(trial, situation).answer]
    for what, options in _options(outcomes, trial, situation):
        for label, other, changed in options:
            if list(_outside(other, changed)):
                continue
            found = _evidence(other, changed)
            if _RANK[found.answer] > before:
                score = f"{found.measure} {summarised(found.private)}"
                yield f"{what} {label}: {found.answer} ({score}, {found.balance()})"
                break


_Option = tuple[str, Trial, Situation]


def _options(
    outcomes: Outcomes, trial: Trial, situation: Situation
) -> Iterator[tuple[str, list[_Option]]]:
    """Yield the axes of the table with the steps along each, smallest first."""
    yield (
        "more patients, a mean of",
        [
            (f"{n} a site", trial, replace(situation, mean_patients=float(n)))
            for n in trial.patients
            if n > situation.mean_patients
        ],
    )
    yield (
        "a larger epsilon,",
        [
            (f"{e:g}", trial, replace(situation, epsilon=e))
            for e in trial.epsilons
            if e > situation.epsilon
        ],
    )
    alike = [t for t in outcomes.trials if (t.data, t.size) == (trial.data, trial.size)]
    yield (
        "another network,",
        [
            (_network(t), t, situation)
            for t in alike
            if _network(t) != _network(trial) and t.start == trial.start
        ],
    )
    yield (
        "other starting weights,",
        [
            (_start(t), t, situation)
            for t in alike
            if _network(t) == _network(trial) and t.start != trial.start
        ],
    )


def _network(trial: Trial) -> str:
    plain = full_parameters(trial.network, {})
    own = {k: v for k, v in trial.parameters.items() if plain.get(k) != v}
    return trial.network + "".join(f" {name}={value}" for name, value in sorted(own.items()))


def _start(trial: Trial) -> str:
    digest, _, trained = trial.start.partition(" ")
    return f"{digest[:12]}…, trained {trained}" if trained else digest


def _shape(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
