"""Go, doubtful, no or not measured: what the measured table says about one site of a study.

A trial fits that has the very network, image size and start of the task; of several that
decide, the worst counts, and one that does not decide is shown and left out. How a trial is
read is told in ``readings``, what would bring a study into the table in ``ways``. Here is also
what would give a better answer: the same look-up with one thing changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fedrad.planning.outcomes import Outcomes, Trial, same_network, start_of, summarised
from fedrad.planning.readings import Answer, Readings, Situation, read
from fedrad.planning.ways import foreign, named_network, named_start, ways_in

_RANK: dict[Answer, int] = {"no": 0, "doubtful": 1, "not measured": 1, "go": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer for one site and everything behind it."""

    answer: Answer
    reasons: tuple[str, ...]
    readings: tuple[Readings, ...] = ()  # of every trial that fits
    changes: tuple[str, ...] = ()  # what would give a better answer, as measured
    ways: tuple[str, ...] = ()  # what would bring a study that is not measured into the table


def verdict(situation: Situation, outcomes: Outcomes) -> Verdict:
    """Look a site up."""
    task = situation.task
    if not task.privacy.enabled:
        reason = "the task is without privacy; the table is about private training"
        return Verdict(answer="not measured", reasons=(reason,))
    trials = [trial for trial in outcomes.trials if same_network(trial, task)]
    fitting = [trial for trial in trials if not list(foreign(trial, task))]
    found = tuple(read(trial, situation) for trial in fitting)
    worst = _worst(found)
    return Verdict(
        answer="not measured" if worst is None else worst.answer,
        reasons=tuple(map(_reason, found)) or tuple(_strange(trials, situation)),
        readings=found,
        changes=tuple(_changes(outcomes, fitting, situation)) if fitting else (),
        ways=tuple(ways_in(outcomes, situation)) if worst is None else (),
    )


def _worst(found: Iterable[Readings]) -> Readings | None:
    """Return the worst of the readings that decide."""
    decided = [readings for readings in found if readings.answer != "not measured"]
    return min(decided, key=lambda readings: _RANK[readings.answer], default=None)


def _strange(trials: Sequence[Trial], situation: Situation) -> Iterator[str]:
    """Yield why no trial fits."""
    task = situation.task
    if not trials:
        yield f"no trial has the network {task.model.name} with these parameters"
    yield from dict.fromkeys(line for trial in trials for line in foreign(trial, task))


def _reason(found: Readings) -> str:
    """Say in one line what a trial says and why."""
    said = [f"{found.answer}: on {found.data}"]
    for evidence in found.nearest:
        seeds = ", ".join(map(str, evidence.seeds))
        said += [f"{evidence.answer} with {evidence.sentence()}, seeds {seeds}"]
        if evidence.recipe != evidence.own_recipe:
            said += [f"measured with {evidence.recipe}, the task has {evidence.own_recipe}"]
    return "; ".join([*said, *found.outside])


def _changes(outcomes: Outcomes, fitting: Sequence[Trial], situation: Situation) -> Iterator[str]:
    """Yield, for each thing that could be changed alone, the least change that was better."""
    found = [read(trial, situation) for trial in fitting]
    worst = _worst(found)
    before = _RANK["not measured" if worst is None else worst.answer]
    data = {readings.data for readings in ([worst] if worst else found)}
    for what, options in _options(outcomes, fitting, situation, data=data):
        for label, trials, changed in options:
            better = _worst(read(trial, changed) for trial in trials)
            if better is not None and _RANK[better.answer] > before:
                yield f"{what} {label}: {better.answer} ({_scored(better)})"
                break


def _scored(found: Readings) -> str:
    evidence = found.nearest[0]
    return f"{evidence.measure} {summarised(evidence.private)}, {evidence.balance()}"


_Option = tuple[str, Sequence[Trial], Situation]


def _options(
    outcomes: Outcomes, fitting: Sequence[Trial], situation: Situation, *, data: Collection[str]
) -> Iterator[tuple[str, list[_Option]]]:
    """Yield the axes of the table with the steps along each, smallest first."""
    cohorts = sorted({n for trial in fitting for n in trial.patients})
    more = [n for n in cohorts if n > situation.mean_patients]
    yield (
        "more patients, a mean of",
        [(f"{n} a site", fitting, replace(situation, mean_patients=float(n))) for n in more],
    )
    epsilons = sorted({epsilon for trial in fitting for epsilon in trial.epsilons})
    larger = [epsilon for epsilon in epsilons if epsilon > situation.epsilon]
    yield (
        "a larger epsilon,",
        [(f"{e:g}", fitting, replace(situation, epsilon=e)) for e in larger],
    )
    own, start = named_network(fitting[0]), start_of(situation.task)
    groups = _groups(outcomes, fitting[0], data=data)
    yield (
        "another network,",
        [(name, group, situation) for (name, at), group in groups if name != own and at == start],
    )
    yield (
        "other starting weights,",
        [
            (named_start(at), group, situation)
            for (name, at), group in groups
            if name == own and at != start
        ],
    )


def _groups(
    outcomes: Outcomes, like: Trial, *, data: Collection[str]
) -> list[tuple[tuple[str, str], list[Trial]]]:
    """Return the trials of each network and start, of those that were tried on some data too."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in outcomes.trials:
        if (trial.kind, trial.size) == (like.kind, like.size):
            groups.setdefault((named_network(trial), trial.start), []).append(trial)
    return [
        (key, group) for key, group in groups.items() if any(trial.data in data for trial in group)
    ]
