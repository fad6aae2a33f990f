"""Compare recipes of one scenario: the same patients, another way of training.

A variant is a name and a list of ``key=value`` settings of the task; the first one is what the
others are compared with. Within a seed every variant has the same archives, splits and draws.
Rounds run in this process: the sites' own training loop with the contract's noise, folded by
the aggregator's code, without messages (a test holds that this is what an engine computes).
No site refuses, so limits of single sites do not count. The score is the mean over sites of
the primary metric on test patients. Finished cells are kept, so the script goes on where it
stopped. Run, with variants in a TOML file (``name = ["key=value", ...]``) or on the line:

    python benchmarks/recipes.py pneumonia --data DIR --variants FILE --seeds 1,2,3
    python benchmarks/recipes.py triplets --variant base --variant "mean;federation.average=0.9"
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aggregator.planning import plan_contract
from fedrad.durable import canonical_json
from fedrad.errors import NonFiniteUpdateError
from fedrad.parameters import trainable, whole, write_safetensors
from fedrad.settings import as_table
from fedrad.starting_weights import starting_model
from fedrad.task import task_hash
from simulations.arms import PrivateStudy, Study, train_federated
from simulations.baselines import quality, values_of
from simulations.places import SITES, home_of
from simulations.plan import Plan, Wishes, make_plan
from simulations.runner import build_hospitals
from simulations.screen import Screen
from site_client.dataset import load_split
from site_client.training.source import PatientSource, kept_features

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of training."""

    name: str
    settings: tuple[str, ...]


class Archives:
    """The hospitals of one seed: written once, read once for each recipe."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept: dict[tuple[str, str, bytes], PatientSource] = {}
        if not (plan.run / SITES).exists():
            build_hospitals(plan, Screen(quiet=True))

    def read(self, site: str, split: str, study: Study) -> PatientSource:
        """Return one split of one site, with what a fixed stem makes of it."""
        task = study.task
        parts = [as_table(part) for part in (task.data, task.labels, task.recipe)]
        model = {"name": task.model.name, "parameters": task.model.parameters}
        key = (site, split, canonical_json([*parts, model]))
        if key not in self._kept:
            dataset = load_split(home_of(self._plan.run, site), task, split)  # type: ignore[arg-type]
            self._kept[key] = kept_features(study.module(), dataset, task)
        return self._kept[key]


class Cells:
    """Finished cells, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._rows = [json.loads(line) for line in lines]

    def find(self, key: Row) -> Row | None:
        """Return the row of a finished cell."""
        return next((row for row in self._rows if key.items() <= row.items()), None)

    def keep(self, row: Row) -> Row:
        """Append one row."""
        self._rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        return row


def main() -> None:
    """Train what is missing and print the table."""
    wishes = _wishes()
    torch.set_num_threads(1)
    cells, variants = Cells(wishes.work / "cells.jsonl"), _variants(wishes)
    table: dict[str, dict[int, Row]] = {variant.name: {} for variant in variants}
    for seed in wishes.seeds:
        archives = None
        for variant in variants:
            plan = _plan(wishes, variant, seed)
            settings = [*wishes.set, *variant.settings]
            key = {"scenario": plan.name, "seed": seed, "settings": settings}
            row = cells.find(key)
            if row is None:
                archives = archives or Archives(plan)
                row = cells.keep(key | {"variant": variant.name} | _cell(plan, archives))
            table[variant.name][seed] = row
    print("\n".join(_lines(table, wishes.seeds)))


def _cell(plan: Plan, archives: Archives) -> Row:
    """Train one variant with one seed and score it."""
    start_s = time.process_time()
    study = _study(plan, archives)
    sources = {site: archives.read(site, "train", study) for site in plan.scenario.sites}
    found: Row = {"moved": sum(t.size for t in trainable(study.module()).values())}
    try:
        model = train_federated(study, sources, rate=plan.task.training.optimiser.rate)
    except NonFiniteUpdateError:
        return found | {"score": None, "cpu_s": time.process_time() - start_s}
    scores = {}
    for site in plan.scenario.sites:
        tests = archives.read(site, "test", study)
        scores[site] = round(quality(study, values_of(study, model, tests), tests), 4)
    return found | {
        "score": round(statistics.fmean(scores.values()), 4),
        "sites": scores,
        "sigma": {site: study.contract.sites[site].train_sigma for site in scores},
        "cpu_s": round(time.process_time() - start_s, 1),
    }


def _study(plan: Plan, archives: Archives) -> Study:
    """Return the study of one variant, with noise if its task is private."""
    task, seed = plan.task, plan.seed
    first = plan.run / f"first-{task_hash(task)[:16]}.safetensors"
    write_safetensors(first, whole(starting_model(task, seed=seed, beside=Path())))
    bare = Study(task=task, contract=plan_contract(task, plan.study, {}), seed=seed, start=first)
    patients = {site: len(archives.read(site, "train", bare)) for site in plan.scenario.sites}
    contract = plan_contract(task, plan.study, patients)
    kind = PrivateStudy if task.privacy.enabled else Study
    return kind(task=task, contract=contract, seed=seed, start=first)


def _plan(wishes: argparse.Namespace, variant: Variant, seed: int) -> Plan:
    asked = Wishes(seed=seed, data=wishes.data, settings=(*wishes.set, *variant.settings))
    folder = wishes.work / wishes.scenario / str(seed)
    return make_plan(wishes.scenario, folder, asked, engine="local", baselines=False)


def _lines(table: dict[str, dict[int, Row]], seeds: list[int]) -> Iterable[str]:
    first = next(iter(table.values()))
    heads = " | ".join(f"seed {seed}" for seed in seeds)
    yield f"| variant | trained | {heads} | mean ± sd | minus the first, mean ± sd |"
    yield "|---" * (len(seeds) + 4) + "|"
    for name, rows in table.items():
        cells = " | ".join(_number(rows[seed]["score"]) for seed in seeds)
        scores = [rows[seed]["score"] for seed in seeds]
        gains = [_gain(rows[seed], first[seed]) for seed in seeds]
        told = "–" if rows is first else _summary(gains, sign="+")
        yield f"| {name} | {rows[seeds[0]]['moved']:,} | {cells} | {_summary(scores)} | {told} |"


def _gain(row: Row, other: Row) -> float | None:
    if row["score"] is None or other["score"] is None:
        return None
    return float(row["score"] - other["score"])


def _summary(values: list[float | None], sign: str = "") -> str:
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return "–"  # a training diverged
    spread = statistics.stdev(present) if len(present) > 1 else 0.0
    return f"{statistics.fmean(present):{sign}.3f} ± {spread:.3f}"


def _number(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3f}"


def _variants(wishes: argparse.Namespace) -> list[Variant]:
    found = [Variant(name=n, settings=tuple(s)) for n, s in _read(wishes.variants).items()]
    for text in wishes.variant:
        name, *settings = text.split(";")
        found.append(Variant(name=name, settings=tuple(settings)))
    return found or [Variant(name="base", settings=())]


def _read(path: Path | None) -> dict[str, list[str]]:
    return {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))


def _wishes() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder with manifest.csv")
    parser.add_argument("--variants", type=Path, help='TOML: name = ["key=value", ...]')
    parser.add_argument("--variant", action="append", default=[], help="NAME;KEY=VALUE;...")
    parser.add_argument("--set", action="append", default=[], help="key=value for every variant")
    parser.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
