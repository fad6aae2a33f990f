"""What a real study left, laid out so that the checker of ``simulations/faults`` reads it.

A copy of the run folder and of the ledgers at one moment: the database first, because files
are written before the rows that name them. What a site's stand-in knows in a played schedule
is here what its ledger says: every reservation is one meeting with patients.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregator.deployment.study_process import run_setup
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.studies import read_study
from fedrad.errors import DamagedStateError
from fedrad.parameters import digest, read_safetensors
from fedrad.privacy.ledger import Line, parse_line, reply_of
from simulations.faults.events import Damage, Schedule
from simulations.faults.history import Left, read
from simulations.faults.invariants import PROMISES, charged_enough, counted_once, ends, finite
from simulations.faults.play import History
from simulations.faults.study import Met, Truth
from simulations.planted import occurrences
from simulations.wire import planted_values
from site_client.home import LEDGER

_SOON = (charged_enough, counted_once, finite)  # after every fault; all of them at the end


class RealPlan:
    """The study as the coordinator's home describes it."""

    def __init__(self, hub: Path, name: str) -> None:
        self._hub, self._study = hub, read_study(hub, name)
        self.task, self.contract = self._study.task, self._study.contract

    def setup(self, folder: Path) -> RunSetup:
        """Return the run in another folder."""
        return replace(run_setup(self._hub, self._study), folder=folder)


def problems_of(stage: Any, troubled: str) -> Iterator[str]:
    """Yield what a fault broke; ``troubled`` is the site whose charges it may have repeated."""
    with copied(stage) as left:
        for promise in _SOON:
            yield from promise(left)
        yield from _charged_again(stage, left, troubled)


def problems_at_end(stage: Any, lives: list[str], *, ended: bool) -> Iterator[str]:
    """Yield every broken promise of the whole study, patients' names included.

    I5, that it ends, is looked at only if it had the time to: ``ended``.
    """
    with copied(stage, lives) as left:
        for promise in PROMISES:
            if ended or promise is not ends:
                yield from promise(left)
    values = [
        v for site in stage.sites for v in planted_values(stage.federation.homes.folder, site)
    ]
    for path in (path for path in stage.hub.rglob("*") if path.is_file()):
        if occurrences(path.read_bytes(), values):
            yield f"I7: {path.name} names a patient"


@contextmanager
def copied(stage: Any, lives: list[str] | None = None) -> Iterator[Left]:
    """Copy what is there now and read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        source = sqlite3.connect(f"file:{stage.run / DATABASE}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(folder / "run" / DATABASE)) as target:
            source.backup(target)
        shutil.copytree(stage.run / "rounds", folder / "run" / "rounds", ignore=_unnamed)
        for site in stage.sites:
            (folder / "sites" / site).mkdir(parents=True)
            shutil.copyfile(
                stage.federation.homes.home(site) / LEDGER, folder / "sites" / site / LEDGER
            )
        yield read(_history(stage, folder, lives or ["done"]))


def _unnamed(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name.startswith(".")}


def _history(stage: Any, folder: Path, lives: list[str]) -> History:
    history = History(
        schedule=Schedule(0),
        plan=RealPlan(stage.hub, stage.study),  # type: ignore[arg-type]  # what is asked of one
        folder=folder,
        truth=Truth(),
        lives=lives,
    )
    for path, before in stage.damaged.items():
        history.damaged[folder / "run" / path.relative_to(stage.run)] = before
        history.done.append(Damage("model", int(path.parent.name), "flip"))
    for path in (folder / "run" / "rounds").glob("*/replies/*.safetensors"):
        number, site = int(path.parents[1].name), path.stem
        try:
            update = read_safetensors(path)
        except DamagedStateError:
            continue
        history.truth.updates[digest(update)] = site, number, update
    history.truth.met.extend(_met(folder, stage.sites))
    return history


def _met(folder: Path, sites: tuple[str, ...]) -> Iterator[Met]:
    for site in sites:
        for line in _lines(folder / "sites" / site / LEDGER):
            if line.kind == "commit" and line.steps:
                yield Met(
                    home=site, stream=line.stream, round=0, reply_id=reply_of(line),
                    steps=line.steps, ledger=(),
                )  # fmt: skip


def _charged_again(stage: Any, left: Left, troubled: str) -> Iterator[str]:
    """Yield sites that were charged again for an answer although nothing had happened to them."""
    for site in stage.sites:
        lines = _lines(left.history.homes / site / LEDGER)
        kinds = [(line.stream, reply_of(line)) for line in lines if line.kind == "reserve"]
        again = {key: times for key, times in Counter(kinds).items() if times > 1}
        new = again.keys() - stage.again.keys()
        stage.again |= again
        if new and site != troubled:
            yield f"I3: {site} began {len(new)} answers again and nothing had happened to it"


def _lines(path: Path) -> list[Line]:
    return [parse_line(text) for text in path.read_bytes().split(b"\n") if text]
