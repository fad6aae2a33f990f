"""Build every simulated hospital on disk: its archive, its labels, its site home.

From here on a simulated site differs from a real one in nothing but its secret, which
comes from the study's seed so that a run can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tomli_w

from fedrad import seeds
from fedrad.contract import Contract, write_contract
from fedrad.errors import FedradError
from fedrad.settings import as_table
from fedrad.task import Task, task_hash, write_task
from simulations.archives import ARCHIVE, LABELS
from simulations.places import home_of
from simulations.scenario import Scenario
from site_client.dataset import load_split
from site_client.home import make_home
from site_client.study import CONTRACT, TASK, study_folder


@dataclass(frozen=True, slots=True)
class Stocked:
    """What one site found in its own archive; known to the simulation, never sent."""

    site: str
    patients: dict[str, int]  # split -> patients
    set_aside: dict[str, int]  # reason -> files
    problem: str = ""  # why it cannot take part; empty if it can


def open_home(run: Path, site: str, scenario: Scenario, task: Task, *, seed: int) -> None:
    """Make one site's home over its archive, with its own limits in ``site.toml``."""
    text = tomli_w.dumps(_site_table(site, scenario, task))
    make_home(home_of(run, site), text, split_key=split_key_of(site, seed))


def split_key_of(site: str, seed: int) -> bytes:
    """Return the secret of a simulated site: from the study's seed, so that it can be repeated."""
    return seeds.key(seed, site, "split key")


def take_stock(run: Path, site: str, task: Task) -> Stocked:
    """Read one site's archive once, as its first round would; fills its cache.

    A site whose data cannot be used is reported, not raised: the others go on.
    """
    home = home_of(run, site)
    try:
        counts = {split: len(load_split(home, task, split)) for split in ("train", "audit", "test")}
    except FedradError as error:
        return Stocked(site, {}, set_aside(home), str(error))
    problem = "" if counts["train"] else "no patient of it is in the training split"
    return Stocked(site, counts, set_aside(home), problem)


def set_aside(home: Path) -> dict[str, int]:
    """Count the files that a site put into quarantine, by reason."""
    import pandas as pd

    path = home / "quarantine.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path).drop_duplicates("file")
    return {str(reason): int(count) for reason, count in table["reason"].value_counts().items()}


def sign(run: Path, task: Task, contract: Contract) -> None:
    """Put the task and the contract into every site's home, as accepted."""
    for site in contract.sites:
        folder = study_folder(home_of(run, site), contract.study)
        write_task(folder / TASK, task)
        write_contract(folder / CONTRACT, contract)


def _site_table(site: str, scenario: Scenario, task: Task) -> dict[str, object]:
    limits = scenario.limits_of(site)
    labels = {"labels": {"file": f"../{LABELS}"}} if task.labels.source == "csv" else {}
    return {
        "site": {"name": site},
        "archive": {"kind": "folder", "path": f"../{ARCHIVE}"},
        **labels,
        "privacy": {
            "epsilon_limit": limits.epsilon_limit or task.privacy.epsilon,
            "delta_limit": task.privacy.delta,
            "min_patients": limits.min_patients,
            "max_rounds": task.federation.rounds + task.federation.spare_rounds,
            "max_steps": task.training.steps,
        },
        "approval": {"studies": [task_hash(task)]},
        "splits": as_table(scenario.splits),
    }
