"""What a site accepted, looked up for one request: task, contract, its own terms.

A study is accepted by a person; its task and contract then lie in
``state/studies/STUDY/``. A request that names anything else is declined before the archive
is read. ``state/charged.json`` remembers what the ledger's lines stand on: how patients
were dealt to splits, and of the tasks that were charged the names and whole lengths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedrad import durable
from fedrad.contract import Contract, SiteTerms, read_contract
from fedrad.errors import (
    ContractChangedError,
    DamagedStateError,
    DeclinedError,
    SettingsError,
)
from fedrad.feasibility.cells import charged_as
from fedrad.parameters import Parameters, refuse_non_finite
from fedrad.privacy.bounds import EVERYBODY
from fedrad.privacy.ledger import Charge, Line, Stream, in_window
from fedrad.protocol.checks import agreed_event, agreed_steps, check_request
from fedrad.protocol.messages import Request
from fedrad.task import Task, read_task, task_hash
from site_client import home as site_home
from site_client.patients import assignment
from site_client.settings import SiteSettings

CHARGED = Path("state", "charged.json")
TASK, CONTRACT = "task.toml", "contract.json"
_PLANNED: tuple[Stream, ...] = ("train", "audit")  # streams whose length a contract fixes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # it becomes a folder's name


@dataclass(frozen=True, slots=True)
class Duty:
    """One request with everything that answering it needs."""

    request: Request
    model: Parameters
    settings: SiteSettings
    task: Task
    contract: Contract
    terms: SiteTerms

    @property
    def sampling_rate(self) -> float:
        """The chance of each patient to be drawn in a step, in (0, 1]."""
        expected = self.task.training.expected_batch_patients
        return self.contract.sampling_rate(self.settings.site.name, expected)

    @property
    def expected_batch(self) -> float:
        """The public number of patients that a step is expected to draw: its divisor."""
        expected = self.task.training.expected_batch_patients
        return self.contract.expected_batch(self.settings.site.name, expected)

    def charge(self, reply_id: str, stream: Stream) -> Charge:
        """Return what answering would spend: what the contract says of the stream."""
        event = agreed_event(stream, self.task, self.contract, self.settings.site.name)
        whose = in_window(reply_id, self.request.round) if stream == "window" else reply_id
        return Charge(
            reservation=whose,
            stream=stream,
            task_hash=self.request.task_hash,
            event=event,
            patients_agreed=self.terms.patients_agreed,
        )


def study_folder(home: Path, study: str) -> Path:
    """Return where a site keeps the task and contract of a study.

    Raises:
        DeclinedError: The name cannot be a folder's.
    """
    if not _NAME.fullmatch(study):
        raise DeclinedError("the study's name must be letters, digits, - and _, up to 100")
    return home / "state" / "studies" / study


def accept(home: Path, settings: SiteSettings, request: Request, model: Parameters) -> Duty:
    """Look up what ``request`` is about.

    Raises:
        DeclinedError: The study or its task was not accepted here.
        ContractChangedError: Request, task and contract are not those that were accepted.
        ParametersError: The model holds a value that is not finite.
        ProtocolError: Another schema, or a model that is not the one named.
    """
    folder = study_folder(home, request.study)
    if not folder.is_dir():
        raise DeclinedError(f"study {request.study!r} was never accepted at this site")
    task, contract = read_task(folder / TASK), read_contract(folder / CONTRACT)
    agreed = task_hash(task)
    if agreed not in settings.approval.studies:
        raise DeclinedError(f"the task of {request.study!r} is not in [approval] studies")
    if not request.task_hash == contract.task_hash == agreed or contract.study != request.study:
        raise ContractChangedError(f"{request.study!r} was accepted with another task or contract")
    check_request(request, model, task_hash=agreed)
    refuse_non_finite(model)
    terms = contract.sites.get(settings.site.name)
    if terms is None:
        raise DeclinedError(f"the contract of {request.study!r} does not name this site")
    return Duty(request, model, settings, task, contract, terms)


@dataclass(frozen=True, slots=True)
class Charged:
    """What the lines of the ledger stand on."""

    dealt: str = ""  # digest of how patients were dealt to splits; empty: no charge yet
    tasks: dict[str, str] = field(default_factory=dict)  # task hash -> task name
    plans: dict[str, dict[str, int]] = field(default_factory=dict)  # hash -> stream -> steps

    def revisions(self, name: str, lines: Iterable[Line] = ()) -> frozenset[str]:
        """Return the hashes of the charged tasks of one name: a revision is the same task.

        A task in ``lines`` whose name was lost counts as any.
        """
        named = {hash_ for hash_, known in self.tasks.items() if known == name}
        return frozenset(named | {line.task_hash for line in lines} - self.tasks.keys())


def charged(home: Path, settings: SiteSettings, *, lines: int) -> Charged:
    """Read what the ledger stands on.

    Args:
        home: The site's folder.
        settings: Shares and mapping file as they are now.
        lines: How many lines the ledger has.

    Raises:
        DeclinedError: Patients are dealt otherwise than at the first charge, or there are
            charges and nothing says how they were dealt.
        DamagedStateError: The file cannot be read.
    """
    found = read_charged(home)
    if found.dealt != _dealt(home, settings) and (found.dealt or lines):
        raise DeclinedError(
            "the split key, [splits] or the mapping file is not that of the first charge, so a "
            f"patient could be charged as another; put them and {CHARGED} back, or make a new "
            "home whose epsilon_limit is less by what this ledger spent"
        )
    return found


def read_charged(home: Path) -> Charged:
    """Read what the ledger stands on, without asking whether it still does.

    Raises:
        DamagedStateError: The file cannot be read.
    """
    path = home / CHARGED
    if not path.exists():
        return Charged()
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        plans = {hash_: dict(plan) for hash_, plan in table.get("plans", {}).items()}
        return Charged(str(table["dealt"]), dict(table["tasks"]), plans)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedStateError(f"{CHARGED} is damaged; restore it from a backup") from None


def note_charge(home: Path, duty: Duty) -> None:
    """Write durably what the next line of the ledger stands on, unless it is known.

    Call it after ``charged`` and before the charge.
    """
    note_tasks(home, duty.settings, [duty.task])


def note_tasks(home: Path, settings: SiteSettings, tasks: Iterable[Task]) -> None:
    """Write durably that these tasks may be charged, unless it is known; as ``note_charge``."""
    found = {task_hash(task): task for task in tasks}
    plans: dict[str, dict[str, int]] = {
        name: {stream: agreed_steps(stream, task) for stream in _planned(task)}
        for name, task in found.items()
    }
    _note(home, settings, {name: task.task.name for name, task in found.items()}, plans)


def _planned(task: Task) -> tuple[Stream, ...]:
    return _PLANNED if task.monitoring is None else (*_PLANNED, "window")


def note_sharing(home: Path, settings: SiteSettings, task: Task) -> None:
    """Write durably that a feasibility record of a task may be charged; as ``note_charge``."""
    name = charged_as(task)
    _note(home, settings, {name: task.task.name}, {name: {EVERYBODY: 1}})


def accepted_tasks(home: Path) -> Iterator[Task]:
    """Yield the task of every study that was accepted here and can still be read."""
    for path in sorted((home / "state" / "studies").glob(f"*/{TASK}")):
        with suppress(SettingsError):
            yield read_task(path)


def accepted_contracts(home: Path) -> Iterator[Contract]:
    """Yield the contract of every study that was accepted here and can still be read."""
    for path in sorted((home / "state" / "studies").glob(f"*/{CONTRACT}")):
        with suppress(SettingsError):
            yield read_contract(path)


def _note(
    home: Path, settings: SiteSettings, tasks: dict[str, str], plans: Mapping[str, dict[str, int]]
) -> None:
    before = read_charged(home)
    named, planned = before.tasks | tasks, {**before.plans, **plans}
    if (named, planned) != (before.tasks, before.plans):
        table = {"dealt": _dealt(home, settings), "tasks": named, "plans": planned}
        durable.write_json(home / CHARGED, table)


def _dealt(home: Path, settings: SiteSettings) -> str:
    return assignment(settings.patients, settings.splits, site_home.split_key(home))
