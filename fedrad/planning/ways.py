"""What keeps a study out of the measured table, and what would bring it in.

Networks, image sizes and starts are either those that were measured or foreign; numbers lie
inside or outside of what was measured. Every number named here stands in the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fedrad.planning.outcomes import Outcomes, Trial, full_parameters, same_network, start_of
from fedrad.planning.readings import Situation, pooled_mean, span
from fedrad.task import Task


def ways_in(outcomes: Outcomes, situation: Situation) -> Iterator[str]:
    """Yield the nearest ways into the table: all that one line names is needed together.

    Nearest are trials of the task's own network, whatever its parameters, then those with the
    fewest other things to change, then with the fewest numbers. Nothing where no trial is of
    the task's kind.
    """
    task, near = situation.task, []
    for trial in outcomes.trials:
        if trial.kind == task.task.kind:
            other, numbers = list(_other(trial, task)), list(_numbers(trial, situation))
            distance = (trial.network != task.model.name, len(other), len(numbers))
            near.append((distance, ", ".join([*other, *numbers]), trial.data))
    nearest = min((distance for distance, _, _ in near), default=None)
    ways: dict[str, list[str]] = {}
    for distance, way, data in near:
        if distance == nearest and data not in ways.setdefault(way, []):
            ways[way].append(data)
    yield from (f"{way} (on {'; '.join(data)})" for way, data in ways.items())


def foreign(trial: Trial, task: Task) -> Iterator[str]:
    """Yield why a trial of a task's network is about other images or weights."""
    if trial.size != task.recipe.size:
        here, there = _shape(task.recipe.size), _shape(trial.size)
        yield f"{trial.network} was measured on images of {there}, the task's are {here}"
    if trial.start != start_of(task):
        yield f"{trial.network} was measured from another start: {named_start(trial.start)}"


def named_network(trial: Trial) -> str:
    """Name a trial's network with the parameters that are not its defaults."""
    plain = full_parameters(trial.network, {})
    own = {k: v for k, v in trial.parameters.items() if plain.get(k) != v}
    return trial.network + "".join(f" {name}={value}" for name, value in sorted(own.items()))


def named_start(start: str) -> str:
    """Name a start as a trial holds it, its digest cut."""
    digest, _, trained = start.partition(" ")
    return f"{digest[:12]}…, trained {trained}" if trained else digest


def _other(trial: Trial, task: Task) -> Iterator[str]:
    """Yield what would have to be another thing."""
    if not same_network(trial, task):
        name = named_network(trial)
        yield f"network {name}" + ("" if " " in name else " with its default parameters")
    if trial.size != task.recipe.size:
        yield f"images of {_shape(trial.size)}"
    if trial.start != start_of(task):
        yield f"start {named_start(trial.start)}"


def _numbers(trial: Trial, situation: Situation) -> Iterator[str]:
    """Yield the ranges that a study's numbers would have to lie in."""
    cohorts, mean = trial.patients, situation.mean_patients
    if situation.sites < trial.sites:
        yield f"{trial.sites} sites"
    if not cohorts[0] <= mean <= cohorts[-1]:
        of = f" of {trial.sites} sites" if situation.sites > trial.sites else ""
        yield f"a mean of {span(cohorts)} patients a site{of}"
    elif pooled_mean(trial, situation) > cohorts[-1]:
        yield f"at most {math.floor(cohorts[-1] * trial.sites / mean)} sites of this mean"
    if not cohorts[0] <= situation.patients <= cohorts[-1]:
        yield f"{span(cohorts)} patients at the site"
    if not trial.epsilons[0] <= situation.epsilon <= trial.epsilons[-1]:
        yield f"epsilon {span(trial.epsilons)}"
    if situation.task.privacy.delta != trial.delta:
        yield f"delta {trial.delta:g}"


def _shape(size: tuple[int, ...]) -> str:
    return " × ".join(map(str, size))
