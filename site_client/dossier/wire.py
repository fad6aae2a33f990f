"""Every field that crosses the wire, as the codec writes it, with a meaning for each.

The messages are made for this study's own network and contract and encoded by the code that
encodes real ones; only the numbers of an update and of sums are drawn at random. A field
without a meaning here cannot be shown: ``MEANINGS`` must name it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

import fedrad
from fedrad.contract import Contract
from fedrad.parameters import Parameters, digest, trainable, whole
from fedrad.privacy.ledger import Chain, Charge, Kind, Stream, as_table
from fedrad.protocol.checks import agreed_event, block_sizes
from fedrad.protocol.codec import (
    decode_arrays,
    encode_arrays,
    encode_request,
    records_bytes,
    reply_records,
)
from fedrad.protocol.messages import Block, Phase, Reply, Request, reply_id
from fedrad.task import Task

if TYPE_CHECKING:
    from torch import nn

_TIME = "2026-01-01T00:00:00.000Z"  # of the example's ledger line
_LONGEST = 40  # characters of a value that is shown
_TENSORS = 2  # of each record that are shown by name

MEANINGS = {
    "schema": "number of the wire protocol",
    "study": "name of the study",
    "task_hash": "digest of the approved task",
    "round": "number of the round",
    "phase": "train, evaluate or query",
    "model_digest": "digest of the model that was sent",
    "deadline_s": "seconds until an answer is too late",
    "ledger_head": "hash of the last line of this site's privacy ledger",
    "reply_id": "digest of question and site: one question, one answer",
    "outcome": "done, abstained, refused or failed",
    "reason_code": "one word if not done; what depends on patients is not-ready",
    "update_digest": "digest of the update",
    "events": "ledger lines that the coordinator has not seen: when, what noise, rate and steps "
    "were charged, with the agreed, rounded number of patients",
    "fedrad_version": "release of fedrad, for people",
    "steps": "local steps taken, as the task says",
    "names": "names of the noised sums",
    "lengths": "how many numbers each has",
    "sigmas": "standard deviation of the noise in each",
    "sensitivities": "most that one patient changes each",
    "values": "the sums over patients, with noise",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one record."""

    record: str
    name: str
    example: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Example:
    """One message."""

    title: str
    size: int  # bytes
    fields: tuple[Field, ...]


def examples(task: Task, contract: Contract, site: str, module: nn.Module) -> tuple[Example, ...]:
    """Return a question, an answer to train (if the site trains) and one to evaluate.

    Args:
        task: The study's.
        contract: As this site sees it.
        site: This site.
        module: The task's network, untrained.

    Raises:
        KeyError: A field has no meaning in ``MEANINGS``.
    """
    asked = _request(task, contract, whole(module), "train")
    found = [_example("A question comes in", encode_request(asked, _arrays(module)))]
    if contract.sites[site].kind == "train":
        update = _made_up(module)
        carried = {"update": update, "update_digest": digest(update), "steps": task.training.steps}
        reply = _reply(task, contract, site, asked, **carried)
        found.append(_example("An update goes out", reply_records(reply)))
    asked = replace(asked, phase="evaluate")
    reply = _reply(task, contract, site, asked, blocks=_sums(task, contract, site))
    return (*found, _example("Figures go out", reply_records(reply)))


def _example(title: str, content: RecordDict) -> Example:
    return Example(title, records_bytes(content), tuple(_fields(content)))


def _request(task: Task, contract: Contract, model: Parameters, phase: Phase) -> Request:
    return Request(
        study=contract.study,
        task_hash=contract.task_hash,
        round=1,
        phase=phase,
        model_digest=digest(model),
        deadline_s=task.federation.deadline_s,
    )


def _reply(task: Task, contract: Contract, site: str, asked: Request, **carried: Any) -> Reply:
    stream: Stream = "train" if asked.phase == "train" else "audit"
    identity = reply_id(asked, site)
    charge = Charge(
        reservation=identity,
        stream=stream,
        task_hash=asked.task_hash,
        event=agreed_event(stream, task, contract, site),
        patients_agreed=contract.sites[site].patients_agreed,
    )
    kind: Kind = "reserve" if stream == "train" else "release"
    line = Chain().charge_line(kind, charge, time=_TIME)
    return Reply(
        study=asked.study,
        task_hash=asked.task_hash,
        round=asked.round,
        phase=asked.phase,
        model_digest=asked.model_digest,
        reply_id=identity,
        outcome="done",
        events=(as_table(line),),
        ledger_head=line.hash,
        fedrad_version=fedrad.__version__,
        **carried,
    )


def _made_up(module: nn.Module) -> Parameters:
    rng = np.random.default_rng(0)
    return {
        name: (rng.standard_normal(tensor.shape) * 1e-2).astype(tensor.dtype)
        for name, tensor in trainable(module).items()
    }


def _sums(task: Task, contract: Contract, site: str) -> tuple[Block, ...]:
    rng, sigma = np.random.default_rng(0), contract.sites[site].audit_sigma
    return tuple(
        Block(name=name, values=rng.standard_normal(size) * sigma, sigma=sigma, sensitivity=1.0)
        for name, size in block_sizes(task).items()
    )


def _arrays(module: nn.Module) -> ArrayRecord:
    return encode_arrays(whole(module))


def _fields(content: RecordDict) -> Iterator[Field]:
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            yield from _tensors(str(name), record)
        else:
            for key, value in record.items():
                shown = _ledger_line(value) if key == "events" else _short(value)
                yield Field(str(name), str(key), shown, MEANINGS[str(key)])


def _tensors(name: str, record: ArrayRecord) -> Iterator[Field]:
    arrays = decode_arrays(record)
    for tensor, values in list(arrays.items())[:_TENSORS]:
        first = ", ".join(f"{value:.3g}" for value in np.ravel(values)[:3])
        shape = " × ".join(map(str, values.shape)) or "1"
        yield Field(name, tensor, f"{values.dtype} {shape}: {first} …", "numbers of the network")
    left = len(arrays) - _TENSORS
    if left > 0:
        numbers = sum(values.size for values in arrays.values())
        yield Field(name, f"{left} more", f"in all {numbers:,} numbers", "numbers of the network")


def _ledger_line(text: Any) -> str:
    """Return one line of the ledger whole; it has no list and no table inside."""
    line = json.loads(str(text))[0]
    return ", ".join(f"{name} {_short(value)}" for name, value in line.items())


def _short(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(f"{one:.3g}" if isinstance(one, float) else str(one) for one in value)
    else:
        text = str(value) if value != "" else "(empty)"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
