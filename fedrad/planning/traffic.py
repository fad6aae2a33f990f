"""How many bytes a site's rounds move, from messages made by the codec that makes real ones.

Values are invented, sizes are not: tensors have the network's shapes, sums the task's
lengths, ledger lines the fields of real ones. What Flower adds around a message is left out,
as in the column ``bytes`` of a run's replies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrad.contract import SCHEMA, Contract, SiteTerms
from fedrad.parameters import trainable, whole
from fedrad.privacy.ledger import Chain, Charge, Stream, as_table
from fedrad.protocol.checks import agreed_event, agreed_steps, block_sizes
from fedrad.protocol.messages import Block, Phase, Reply, Request
from fedrad.task import Task, task_hash

if TYPE_CHECKING:
    from torch import nn

MEGABYTE = 1e6
_SITE, _TIME, _DIGEST = "site", "2026-01-01T00:00:00.000Z", "0" * 64
_VERSION = "0.0.0"
_NOISE = 1 / 3  # a multiplier with as many digits as a real one


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that one site receives and sends."""

    model: int  # a request: every parameter, frozen ones included
    update: int  # a reply to train
    report: int  # a reply to evaluate
    rounds: int  # that train, spare ones left out
    releases: int  # rounds after which metrics are released

    @property
    def round_up(self) -> int:
        """What a site sends in a round that is evaluated too."""
        return self.update + self.report

    @property
    def round_down(self) -> int:
        """What a site receives in a round that is evaluated too."""
        return 2 * self.model

    @property
    def study(self) -> int:
        """What a site sends and receives in the whole study, if no round is repeated."""
        training = self.rounds * (self.model + self.update)
        return training + self.releases * (self.model + self.report)


def traffic(task: Task, module: nn.Module) -> Traffic:
    """Weigh the messages of a task.

    Args:
        task: Says which sums there are and how often.
        module: The task's network, with its parameters frozen or not as the task says.
    """
    from fedrad.protocol.codec import encode_arrays, encode_request, records_bytes, reply_records

    sizes = block_sizes(task)
    sums = tuple(
        Block(name=name, values=np.zeros(size), sigma=_NOISE, sensitivity=1.0)
        for name, size in sizes.items()
    )
    asked = encode_request(_request(task), encode_arrays(whole(module)))
    trained = _reply(task, "train", update=trainable(module), steps=task.training.steps)
    measured = _reply(task, "evaluate", blocks=sums)
    return Traffic(
        model=records_bytes(asked),
        update=records_bytes(reply_records(trained)),
        report=records_bytes(reply_records(measured)),
        rounds=task.federation.rounds,
        releases=agreed_steps("audit", task),
    )


def _request(task: Task) -> Request:
    return Request(
        study=task.task.name,
        task_hash=task_hash(task),
        round=task.federation.rounds,
        phase="train",
        model_digest=_DIGEST,
        deadline_s=task.federation.deadline_s,
        ledger_head=_DIGEST,
    )


def _reply(task: Task, phase: Phase, **carried: object) -> Reply:
    return Reply(
        study=task.task.name,
        task_hash=task_hash(task),
        round=task.federation.rounds,
        phase=phase,
        model_digest=_DIGEST,
        reply_id=_DIGEST,
        outcome="done",
        update_digest=_DIGEST if phase == "train" else "",
        events=_lines(task, "train" if phase == "train" else "audit"),
        ledger_head=_DIGEST,
        fedrad_version=_VERSION,
        **carried,  # type: ignore[arg-type]
    )


def _lines(task: Task, stream: Stream) -> tuple[dict[str, object], ...]:
    """Return the ledger lines of one reply: two for training, one for a release."""
    terms = SiteTerms(label="A", patients_agreed=100, train_sigma=_NOISE, audit_sigma=_NOISE)
    contract = Contract(schema=SCHEMA, study="", task_hash=task_hash(task), sites={_SITE: terms})
    charge = Charge(
        reservation=_DIGEST,
        stream=stream,
        task_hash=contract.task_hash,
        event=agreed_event(stream, task, contract, _SITE),
        patients_agreed=terms.patients_agreed,
    )
    chain = Chain()
    if stream == "audit":
        return (as_table(chain.charge_line("release", charge, time=_TIME)),)
    reserved = chain.charge_line("reserve", charge, time=_TIME)
    chain.append(reserved)
    settled = chain.commit_line(reserved, steps=charge.event.steps, time=_TIME)
    return as_table(reserved), as_table(settled)
