"""Measure what private training across three sites reaches: the table behind ``plan``'s verdicts.

For every study, cohort and epsilon three sites of equal size train together under
patient-level privacy, without privacy, and each alone without privacy; the scores on test
patients of all sites become one row a seed. Noise, rates of drawing and weights come from a
real contract, training from the project's own loop and aggregation; there is no server in
between. Finished trainings are kept in ``--cache``, so the script goes on where it stopped.
What is trained is in ``feasibility_trials``. Run, the second time with the commit measured:

    python benchmarks/feasibility.py --cache runs/feasibility.jsonl --study phantom-nodules
    python benchmarks/feasibility.py --cache runs/feasibility.jsonl --write COMMIT
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from feasibility_data import SITES
from feasibility_trials import TRIALS, Trial

from aggregator.planning import plan_contract
from fedrad import seeds
from fedrad.errors import SettingsError
from fedrad.planning import outcomes
from fedrad.privacy.mechanisms import noise_source
from simulations.arms import Sources, Study, train_alone, train_federated
from simulations.baselines import quality, values_of
from simulations.comparison import mean_mask
from simulations.tuning import Part
from site_client.training.loop import StepPlan

SEEDS = (1, 2, 3)
TABLE = Path(outcomes.__file__).with_name(outcomes.FILE)
Row = dict[str, Any]


class Noised(Study):
    """A study whose local steps are private, as a site's round makes them."""

    def plan(self, site: str, round_number: int) -> StepPlan:
        """Return one round's private steps at a site."""
        plain = Study.plan(self, site, round_number)
        key = seeds.key(self.seed, site, round_number, "step noise")
        return StepPlan(
            q=plain.q,
            sigma=self.contract.sites[site].train_sigma,
            steps=plain.steps,
            expected_batch_patients=plain.expected_batch_patients,
            max_grad_norm=plain.max_grad_norm,
            batches=plain.batches,
            noise=noise_source(key),
            rate=plain.rate,
        )


class Cache:
    """Finished trainings, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def find(self, key: Row) -> Row:
        """Return the newest row of ``key``.

        Raises:
            KeyError: It was not measured.
        """
        for row in reversed(self.rows):
            if all(row.get(name) == value for name, value in key.items()):
                return row
        raise KeyError(json.dumps(key))

    def get(self, key: Row, make: Callable[[], Row]) -> Row:
        """Return the row of ``key``, made and kept if it is new."""
        with contextlib.suppress(KeyError):
            return self.find(key)
        start = time.process_time()
        row = {**key, **make(), "cpu_s": round(time.process_time() - start, 1)}
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
        return row


def measure(trial: Trial, seed: int, cache: Cache, data: Path | None) -> None:
    """Measure every cell of one trial for one seed, small cohorts first."""
    patients = trial.sources(seed, data)
    tests = {site: Part(source, tuple(range(trial.test))) for site, source in patients.items()}
    for sizes in [*((n,) * len(SITES) for n in trial.patients), *trial.uneven]:
        train = {
            site: Part(patients[site], tuple(range(trial.test, trial.test + n)))
            for site, n in zip(SITES, sizes, strict=True)
        }
        for key, make in _jobs(trial, seed, train, tests):
            cache.get({"trial": trial.name, "seed": seed, "patients": list(sizes), **key}, make)


def _jobs(
    trial: Trial, seed: int, train: Sources, tests: Sources
) -> Iterator[tuple[Row, Callable[[], Row]]]:
    sizes = {site: len(source) for site, source in train.items()}
    mean = float(np.mean(list(sizes.values())))
    plain = trial.task(trial.plain, mean, epsilon=0.0)
    start = Path(plain.model.initial) if plain.model.initial else None
    contract = plan_contract(plain, trial.name, sizes)
    study = Study(task=plain, contract=contract, seed=seed, start=start)
    for arm in ("trivial", "alone", "federated"):
        key: Row = {"arm": arm, "recipe": outcomes.recipe_of(plain)}
        yield key, partial(_ARMS[arm], study, train, tests)
    for epsilon in trial.epsilons:
        task = trial.task(trial.recipe(mean), mean, epsilon=epsilon)
        contract = plan_contract(task, trial.name, sizes)
        noised = Noised(task=task, contract=contract, seed=seed, start=start)
        key = {"arm": "private", "epsilon": epsilon, "recipe": outcomes.recipe_of(task)}
        yield key, partial(_private, noised, train, tests)


def _private(study: Noised, train: Sources, tests: Sources) -> Row:
    row = _federated(study, train, tests)
    return {**row, "sigma": [study.contract.sites[site].train_sigma for site in sorted(train)]}


def _federated(study: Study, train: Sources, tests: Sources) -> Row:
    model = train_federated(study, train, rate=study.task.training.optimiser.rate)
    return _scores([quality(study, values_of(study, model, tests[s]), tests[s]) for s in SITES])


def _alone(study: Study, train: Sources, tests: Sources) -> Row:
    rate, found = study.task.training.optimiser.rate, []
    for site in SITES:
        model = train_alone(study, site, train[site], rate=rate)
        found.append(quality(study, values_of(study, model, tests[site]), tests[site]))
    return _scores(found)


def _trivial(study: Study, train: Sources, tests: Sources) -> Row:
    """Score chance, or for a segmentation the mask that most training patients share."""
    if study.task.task.kind == "classification":
        return _scores([0.5] * len(SITES))
    guess = mean_mask(list(train.values()))
    found = []
    for site in SITES:
        masks = [tests[site].record(i).masks[:, 0] > 0 for i in range(len(tests[site]))]
        dice = [2 * (m & guess).sum() / max(1, m.sum() + guess.sum() * len(m)) for m in masks]
        found.append(float(np.mean(dice)))
    return _scores(found)


def _scores(found: list[float]) -> Row:
    return {"score": round(float(np.mean(found)), 4), "sites": [round(x, 4) for x in found]}


_ARMS = {"trivial": _trivial, "alone": _alone, "federated": _federated}


class Found:
    """The measured scores of one trial, one number a seed."""

    def __init__(self, trial: Trial, cache: Cache) -> None:
        self._trial, self._cache = trial, cache

    def rows(self, arm: str, sizes: Sequence[int], epsilon: float = 0.0) -> list[Row]:
        """Return one row a seed; raises ``KeyError`` if one was not measured.

        Rows of another recipe than the trial's do not count.
        """
        mean = float(np.mean(sizes))
        recipe = self._trial.recipe(mean) if epsilon else self._trial.plain
        task = self._trial.task(recipe, mean, epsilon=epsilon)
        wanted = {"trial": self._trial.name, "patients": list(sizes), "arm": arm}
        wanted |= {"recipe": outcomes.recipe_of(task)} | ({"epsilon": epsilon} if epsilon else {})
        return [self._cache.find({**wanted, "seed": seed}) for seed in SEEDS]

    def scores(self, arm: str, sizes: Sequence[int], epsilon: float = 0.0) -> outcomes.Scores:
        """Return one score a seed."""
        return tuple(row["score"] for row in self.rows(arm, sizes, epsilon))

    def baseline(self, patients: int) -> outcomes.Baseline:
        """Return what a cohort reached without privacy."""
        sizes = (patients,) * len(SITES)
        arms = {arm: self.scores(arm, sizes) for arm in _ARMS}
        return outcomes.Baseline(patients=patients, **arms)

    def cell(self, patients: int, epsilon: float) -> outcomes.Cell:
        """Return what a cohort reached at an epsilon."""
        rows = self.rows("private", (patients,) * len(SITES), epsilon)
        return outcomes.Cell(
            patients=patients,
            epsilon=epsilon,
            sigma=rows[0]["sigma"][0],
            recipe=rows[0]["recipe"],
            private=tuple(row["score"] for row in rows),
        )

    def uneven(self) -> Iterator[outcomes.Uneven]:
        """Yield what sites of unequal size reached."""
        for sizes in self._trial.uneven:
            for epsilon in self._trial.epsilons:
                scores = self.scores("private", sizes, epsilon)
                yield outcomes.Uneven(patients=sizes, epsilon=epsilon, private=scores)

    def whole(self) -> outcomes.Trial:
        """Return the whole trial; raises ``KeyError`` if a part was not measured."""
        trial, task = self._trial, self._trial.task(self._trial.plain, 100, epsilon=0.0)
        return outcomes.Trial(
            name=trial.name,
            data=trial.what,
            kind=task.task.kind,
            network=task.model.name,
            parameters=outcomes.full_parameters(task.model.name, task.model.parameters),
            size=task.recipe.size,
            start=outcomes.start_of(task),
            delta=task.privacy.delta,
            sites=len(SITES),
            test_patients=trial.test,
            seeds=SEEDS,
            plain=str(trial.plain),
            baselines=tuple(self.baseline(patients) for patients in trial.patients),
            cells=tuple(self.cell(patients, epsilon) for patients, epsilon in trial.grid()),
            uneven=tuple(self.uneven()),
        )


def write_table(cache: Cache, code: str) -> None:
    """Write every trial that was measured in full."""
    found = []
    for trial in TRIALS:
        try:
            found.append(Found(trial, cache).whole())
        except (KeyError, SettingsError) as missing:
            print(f"{trial.name} is left out, not measured: {missing}", file=sys.stderr)
    table = outcomes.Outcomes(
        schema=outcomes.SCHEMA,
        measured=datetime.now(UTC).date().isoformat(),
        command="python benchmarks/feasibility.py",
        code=code,
        versions={name: version(name) for name in ("torch", "monai", "numpy", "dp-accounting")},
        trials=tuple(found),
    )
    outcomes.write_outcomes(TABLE, table)


def print_table(table: outcomes.Outcomes) -> None:
    """Print the rows of docs/results.md."""
    for trial in table.trials:
        print(f"\n{trial.name}: {trial.data}; {trial.network}, {trial.measure}")
        head = ["patients a site", "no skill", "alone", "together, no DP"]
        head += [f"epsilon {epsilon:g}" for epsilon in trial.epsilons]
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for n in trial.patients:
            base = trial.baseline(n)
            scores = [base.trivial, base.alone, base.federated]
            scores += [trial.cell(n, epsilon).private for epsilon in trial.epsilons]
            print(f"| {n} | {' | '.join(map(outcomes.summarised, scores))} |")
        for one in trial.uneven:
            print(f"{one.patients} at epsilon {one.epsilon:g}: {outcomes.summarised(one.private)}")


def main() -> None:
    """Measure what is asked for, write the table if asked to, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines of trainings")
    parser.add_argument("--study", action="append", choices=[trial.name for trial in TRIALS])
    parser.add_argument("--seed", action="append", type=int, help="default: 1, 2, 3")
    parser.add_argument("--data", type=Path, help="folder that holds the public folders")
    parser.add_argument("--write", metavar="COMMIT", help="write the table; what was measured")
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    cache = Cache(wishes.cache)
    for trial in TRIALS:
        if trial.name in (wishes.study or ()):
            for seed in wishes.seed or SEEDS:
                measure(trial, seed, cache, wishes.data)
    if wishes.write:
        write_table(cache, wishes.write)
        print_table(outcomes.read_outcomes(TABLE))


if __name__ == "__main__":
    main()
