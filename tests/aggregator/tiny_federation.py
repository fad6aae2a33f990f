"""A federation small enough for a test: real messages, real apps, a model of two tensors.

A site's training pulls the model half-way towards a target of its own, so that the right
answer can be written down. Sites can be told to misbehave.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from aggregator.setup import RunSetup
from fedrad.contract import Contract, SiteTerms
from fedrad.parameters import Parameters, digest
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Chain, Charge, as_table, sealed
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Block, Reply, Request, reply_id
from fedrad.task import Task, parse_task, task_hash

SITES = ("east", "north", "south", "west")
PATIENTS = {"east": 100, "north": 200, "south": 300, "west": 400}


def initial_model() -> Parameters:
    """Two tensors of different dtypes."""
    return {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float64)}


def tiny_task(**federation: object) -> Task:
    """Return an exact two-class task; ``federation`` overrides that table."""
    table = {
        "schema": 1,
        "task": {"name": "tiny", "kind": "classification", "classes": ["n", "y"], "positive": "y"},
        "data": {"modality": "DX", "dimensions": 2},
        "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
        "recipe": {"size": [8, 8], "intensity": {"kind": "range", "constants": "unit"}},
        "model": {"name": "tiny"},
        "training": {"steps": 1, "expected_batch_patients": 4.0},
        "federation": {"rounds": 3, "deadline_s": 20.0, **federation},
        "privacy": {"enabled": False},
        "evaluation": {
            "metrics": ["auroc"],
            "edges": [0.0, 0.5, 1.0],
            "every_rounds": 2,
            "release": "exact",
        },
        "analysis": {"primary": "auroc"},
    }
    return parse_task(table)


def tiny_contract(task: Task, sites: tuple[str, ...] = SITES) -> Contract:
    """Return terms without noise; the sites' sizes differ."""
    terms = {
        site: SiteTerms(
            label=chr(65 + place),
            patients_agreed=PATIENTS.get(site, 100),
            train_sigma=0.0,
            audit_sigma=0.0,
        )
        for place, site in enumerate(sites)
    }
    return Contract(schema=1, study="tiny-study", task_hash=task_hash(task), sites=terms)


def tiny_setup(folder: Path, task: Task | None = None, **fields: object) -> RunSetup:
    """Return a run of the tiny study in ``folder``."""
    task = task or tiny_task()
    given = {"contract": tiny_contract(task), "initial": initial_model} | fields
    return RunSetup(folder=folder, task=task, **given)


def target(site: str) -> Parameters:
    """Where a site pulls the model to."""
    value = 1.0 + sum(site.encode()) % 7
    return {"a": np.full((2, 3), value, np.float32), "b": np.full(4, -value, np.float64)}


@dataclass(frozen=True)
class Fault:
    """What a site does wrong, in one phase, in one round or (0) in all."""

    site: str
    kind: str
    phase: str = "train"
    round: int = 0


@dataclass(frozen=True)
class TinySites:
    """A picklable factory of the sites' app."""

    sites: tuple[str, ...] = SITES
    faults: tuple[Fault, ...] = ()
    train_s: float = 0.0

    def __call__(self) -> ClientApp:
        """Build the app."""
        app = ClientApp()
        for register in (app.train, app.evaluate, app.query):
            register()(self.answer)
        return app

    def answer(self, message: Message, context: Context) -> Message:
        """Answer one message as the site that the context names."""
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        reply = honest_reply(request, model, site)
        if request.phase == "train":
            time.sleep(self.train_s)
        for fault in self.faults:
            here = (fault.site, fault.phase) == (site, request.phase)
            if here and fault.round in (0, request.round):
                reply = misbehave(fault.kind, reply)
        return encode_reply(reply, message)


class Broken:
    """A factory that fails where it is called."""

    def __call__(self) -> ClientApp:
        """Fail."""
        raise OSError("no such home")


def honest_reply(request: Request, model: Parameters, site: str) -> Reply:
    """Return what ``site`` answers when nothing is wrong."""
    blank = Reply(
        study=request.study,
        task_hash=request.task_hash,
        round=request.round,
        phase=request.phase,
        model_digest=request.model_digest,
        reply_id=reply_id(request, site),
        outcome="done",
        fedrad_version="0.1.0",
    )
    if request.phase == "train":
        wanted = target(site)
        update = {name: (wanted[name] - model[name]) / 2 for name in model}
        update = {name: tensor.astype(model[name].dtype) for name, tensor in update.items()}
        return replace(blank, update=update, update_digest=digest(update), steps=1)
    if request.phase == "evaluate":
        values = {"n": [20.0], "positives": [8.0], "operating": [6, 3, 2, 9]}
        blocks = (*values.items(), ("table", [9, 3, 2, 6]))
        return replace(blank, blocks=tuple(_block(name, value) for name, value in blocks))
    return blank


def misbehave(kind: str, reply: Reply) -> Reply:
    """Return ``reply`` with a fault, raise, or end the process."""
    if kind == "raise":
        raise ValueError("a patient's name is in this text: Ada Byron")
    if kind == "die":
        os._exit(9)
    if kind == "slow":
        time.sleep(30)
    if kind in ("budget", "declined", "not-ready"):
        outcome = "abstained" if kind == "not-ready" else "refused"
        return replace(reply, outcome=outcome, reason_code=kind, update={}, update_digest="")
    if kind in _STRANGE:
        return replace(reply, **_STRANGE[kind](reply))
    update = reply.update | {"a": _SPOILED[kind](reply.update["a"])}
    return replace(reply, update=update, update_digest=digest(update))


def charge_line(task_hash: str, **changed: object) -> dict[str, object]:
    """Return the ledger line of west's round of a tiny task, with fields changed."""
    event = Event(mechanism="exact", sigma=0.0, q=4 / PATIENTS["west"], steps=1)
    charge = Charge(
        reservation="a" * 64,
        stream="train",
        task_hash=task_hash,
        event=event,
        patients_agreed=PATIENTS["west"],
    )
    line = Chain().charge_line("reserve", charge, time="2026-01-01")
    return as_table(sealed(replace(line, **changed)))


_STRANGE: dict[str, Callable[[Reply], dict[str, object]]] = {
    "foreign": lambda _: {"reply_id": "0" * 64},
    "digest": lambda _: {"update_digest": "f" * 64},
    "schema": lambda _: {"schema": 2},
    "newer": lambda _: {"fedrad_version": "9.9.9"},
    "older": lambda _: {"fedrad_version": "0.0.9"},
    "newer-failed": lambda _: {
        "fedrad_version": "9.9.9",
        "outcome": "failed",
        "reason_code": "failed",
    },
    "long-head": lambda _: {"ledger_head": "h" * 10_000},
    "no-blocks": lambda _: {"blocks": ()},
    "half-blocks": lambda reply: {"blocks": reply.blocks[:2]},
    "big-sums": lambda reply: {"blocks": (_block("n", [1e25]), *reply.blocks[1:])},
    "agreed-line": lambda reply: {"events": (charge_line(reply.task_hash),)},
    "many-steps": lambda reply: {"events": (charge_line(reply.task_hash, steps=10**30),)},
    "million-steps": lambda reply: {"events": (charge_line(reply.task_hash, steps=10**6),)},
    "other-task": lambda _: {"events": (charge_line("f" * 64),)},
}
_SPOILED = {
    "nan": lambda tensor: np.full_like(tensor, np.nan),
    "huge": lambda tensor: np.full_like(tensor, 1e30),
    "shape": lambda tensor: tensor[:1],
}


def _block(name: str, values: list[float]) -> Block:
    return Block(name=name, values=np.array(values, float), sigma=0.0, sensitivity=1.0)
