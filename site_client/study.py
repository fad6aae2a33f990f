"""What a site accepted, looked up for one request: task, contract, its own terms.

A study is accepted by a person; its task and contract then lie in
``state/studies/STUDY/``. A request that names anything else is declined before a patient is
touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fedrad.contract import Contract, SiteTerms, read_contract
from fedrad.errors import ContractChangedError, DeclinedError
from fedrad.parameters import Parameters, refuse_non_finite
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge, Stream
from fedrad.protocol.checks import check_request
from fedrad.protocol.messages import Request
from fedrad.task import Task, read_task, task_hash
from site_client.settings import SiteSettings

TASK, CONTRACT = "task.toml", "contract.json"
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

    def charge(self, reply_id: str, stream: Stream, event: Event) -> Charge:
        """Return what answering would spend."""
        return Charge(
            reservation=reply_id,
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
