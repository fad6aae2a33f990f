"""What crosses the wire, as plain objects: a request, a reply, a block of sums.

How they become Flower records is ``codec``'s business; whether one is acceptable is
``checks``'s. Nothing here identifies a patient, and a reply says no count and no loss.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedrad.parameters import Parameters

SCHEMA = 1

Phase = Literal["train", "evaluate", "query", "window", "window-images", "window-labels", "compare"]
"""Of the windows' phases the round is the window's number + 1; 0 is the time before them."""
Outcome = Literal["done", "abstained", "refused", "failed"]
Reason = Literal[
    "", "offline", "declined", "contract-changed", "budget", "not-ready", "version", "failed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the aggregator asks of one site in one phase of one round."""

    schema: int = SCHEMA
    study: str
    task_hash: str
    round: int
    phase: Phase
    model_digest: str
    deadline_s: float
    ledger_head: str = ""  # the last head the aggregator saw from this site: the anchor


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Named sums over patients, with the noise that was added to each value.

    ``sigma`` is the standard deviation of that noise (0: exact), ``sensitivity`` the L2
    change that one patient can make to ``values`` before the noise.
    """

    name: str
    values: npt.NDArray[np.float64]  # one axis
    sigma: float
    sensitivity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one site answers. Refusals and abstentions are replies like any other."""

    schema: int = SCHEMA
    study: str
    task_hash: str
    round: int
    phase: Phase
    model_digest: str
    reply_id: str
    outcome: Outcome
    reason_code: Reason = ""
    update: Parameters = field(default_factory=dict)  # train: trained minus received
    update_digest: str = ""
    blocks: tuple[Block, ...] = ()  # evaluate
    steps: int = 0  # local steps taken
    events: tuple[dict[str, Any], ...] = ()  # ledger lines of the task after the request's anchor
    ledger_head: str = ""
    fedrad_version: str = ""


def reply_id(request: Request, site: str) -> str:
    """Return the identity of a site's answer: the same question has the same answer.

    SHA-256 over study, task hash, round, phase, site and model digest. Flower's run and
    message ids take no part, so that a restarted server meets the same ids again.
    """
    parts = [
        request.study,
        request.task_hash,
        str(request.round),
        request.phase,
        site,
        request.model_digest,
    ]
    return hashlib.sha256("\x1f".join(parts).encode("utf-8")).hexdigest()
