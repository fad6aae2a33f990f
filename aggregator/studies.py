"""A study at the coordinator: ``studies/NAME/`` with task, contract, seed and invitations.

Written by ``enrol`` and read by whatever runs rounds. The seed fixes every parameter of the
first model that no file gives; the file of starting weights lies beside the task.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from aggregator.windows import COMPARISON, WINDOWS
from fedrad import durable
from fedrad.contract import Contract, read_contract, write_contract
from fedrad.enrolment import STUDY
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.provenance import provenance_path
from fedrad.task import Task, read_task, task_hash, write_task

TASK, CONTRACT, ABOUT, INVITATIONS = "task.toml", "contract.json", "study.json", "invitations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study; ``folder`` is also what ``model.initial`` is relative to."""

    name: str
    folder: Path
    task: Task
    contract: Contract
    seed: int  # 0 to 2**53 - 1


def study_folder(home: Path, name: str) -> Path:
    """Return where a study lies.

    Raises:
        SettingsError: The name cannot be a folder's.
    """
    if not STUDY.fullmatch(name):
        line = "a study's name must be letters, digits, - and _, up to 100"
        raise SettingsError("--study", (line,))
    return home / "studies" / name


def run_folder(home: Path, name: str) -> Path:
    """Return where a study's rounds, and its windows, are recorded; absent before the first."""
    name = name.removesuffix(WINDOWS).partition(COMPARISON)[0]
    return study_folder(home, name).parents[1] / "runs" / name


def study_names(home: Path) -> tuple[str, ...]:
    """Return the names of all studies."""
    return tuple(sorted(path.parent.name for path in (home / "studies").glob(f"*/{ABOUT}")))


def read_study(home: Path, name: str) -> Study:
    """Read one study.

    Raises:
        SettingsError: There is none of this name, or a file cannot be used.
        DamagedStateError: Its files do not belong together.
    """
    folder = study_folder(home, name)
    if not (folder / ABOUT).exists():
        known = ", ".join(study_names(home)) or "none"
        raise SettingsError("--study", (f"there is no study {name!r}; there are: {known}",))
    task, contract = read_task(folder / TASK), read_contract(folder / CONTRACT)
    try:
        seed = int(json.loads((folder / ABOUT).read_bytes())["seed"])
    except (ValueError, KeyError, TypeError):
        raise DamagedStateError(f"{folder / ABOUT} is damaged; restore it") from None
    if contract.task_hash != task_hash(task) or contract.study != name:
        raise DamagedStateError(f"{folder}: task and contract are not of one study")
    return Study(name=name, folder=folder, task=task, contract=contract, seed=seed)


def write_study(study: Study, *, beside: Path) -> None:
    """Write a study, and copy its starting weights from ``beside``; ``study.json`` comes last."""
    initial = study.task.model.initial
    study.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if initial and (beside / initial).resolve() != (study.folder / initial).resolve():
        for path in (beside / initial, provenance_path(beside / initial)):
            target = study.folder / path.relative_to(beside)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    write_task(study.folder / TASK, study.task)
    write_contract(study.folder / CONTRACT, study.contract)
    durable.write_json(study.folder / ABOUT, {"schema": 1, "seed": study.seed})
