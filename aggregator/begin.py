"""Begin a run in an empty folder, or go on with the one that is there.

A folder holds one run for ever: of one study, one contract, one first model. Whoever is in
it is alone in it, so that a coordinator that was started twice does not run a round twice.
Where a run stands is ``resume``'s to say.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Run
from fedrad import durable
from fedrad.clock import stamp
from fedrad.contract import read_contract, write_contract
from fedrad.errors import RunError
from fedrad.parameters import digest
from fedrad.task import task_hash, write_task

CONTRACT, METRICS, HISTORY = "contract.json", "metrics.csv", "audit.jsonl"
_LOCK = "run.lock"
_PACKAGES = ("fedrad", "flwr", "torch", "monai", "numpy", "dp-accounting")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep every other coordinator out of a run folder; a killed one keeps nobody out.

    Raises:
        RunError: Another process runs the rounds of this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(
            f"another process runs the rounds of {folder}; stop it first, or wait for its end"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def begin(setup: RunSetup, store: Store) -> None:
    """Open the run's line, or open it again where the run was cut.

    Raises:
        RunError: The folder holds a finished run, or that of another contract; or the
            contract is not for this task and first model.
    """
    _refuse_misfit(setup)
    runs = store.rows("runs")
    if runs:
        if runs[0]["status"] == "done":  # it may have died before the last of its files
            store.write_metrics_csv(setup.folder / METRICS)
            store.write_history(setup.folder / HISTORY)
        _refuse_other_run(setup, runs[0])
        store.resume_run(setup.run)
        return
    write_task(setup.folder / "task.toml", setup.task)
    write_contract(setup.folder / CONTRACT, setup.contract)
    versions = _versions() | dict(setup.versions)
    store.record_run(
        Run(
            run=setup.run,
            study=setup.contract.study,
            task_hash=setup.contract.task_hash,
            started=stamp(setup.clock),
            seed=setup.seed,
            engine=setup.engine,
            versions_json=durable.canonical_json(versions).decode("utf-8"),
        )
    )


def _refuse_misfit(setup: RunSetup) -> None:
    if setup.contract.task_hash != task_hash(setup.task):
        raise RunError("the contract is for another task than the one given")
    starting = setup.contract.starting
    if starting is not None and starting.model != digest(setup.initial()):
        raise RunError("the contract pins other starting weights than the ones given")
    conditions = setup.contract.conditions
    if conditions is not None and conditions.expired(setup.clock.now()):
        raise RunError(
            f"the contract ended on {conditions.expires}: its sites abstain; enrol a study anew"
        )


def _refuse_other_run(setup: RunSetup, row: dict[str, object]) -> None:
    folder = setup.folder
    if row["status"] == "done":
        raise RunError(f"{folder} already holds a finished run; choose another folder")
    same = row["run"] == setup.run and read_contract(folder / CONTRACT) == setup.contract
    if not same:
        raise RunError(f"{folder} already holds the run of another contract; choose another folder")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
