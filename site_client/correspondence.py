"""The site's record of every message: what came, and what left, with digest, size and decision.

Lines of ``audit.jsonl`` that the coordinator can compare with its own. A disk that refuses keeps
no line; whether there is an answer is not decided here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from fedrad.clock import SystemClock
from fedrad.documents import printable
from fedrad.protocol.digests import reply_digest, request_digest
from fedrad.protocol.messages import Block, Reply, Request
from site_client import audit

_LONGEST = 100  # characters of a study's name; a longer one is none


def received(home: Path, request: Request, size: int) -> None:
    """Note a request of ``size`` bytes, before anything is decided."""
    _note(home, "received", request, {"digest": request_digest(request), "bytes": size})


def sent(home: Path, reply: Reply, size: int) -> None:
    """Note a reply of ``size`` bytes that is about to leave."""
    how = f"{reply.outcome}: {reply.reason_code}" if reply.reason_code else reply.outcome
    said = {"digest": reply_digest(reply), "bytes": size, "fields": decoded(reply)}
    _note(home, "sent", reply, said, decision=how)


def decoded(reply: Reply) -> dict[str, object]:
    """Return what a reply says, field by field, as JSON: what a person may read of what left.

    Of an update how many tensors and numbers, and its joint length; of sums every number, with the
    noise that it carries.
    """
    tensors = list(reply.update.values())
    length = math.sqrt(sum(float(np.square(one, dtype=np.float64).sum()) for one in tensors))
    return {
        "steps": reply.steps,
        "tensors": len(tensors),
        "numbers": sum(int(one.size) for one in tensors),
        "length": length if math.isfinite(length) else None,
        "sums": {block.name: _sums(block) for block in reply.blocks},
        "ledger_lines": len(reply.events),
        "ledger_head": reply.ledger_head,
        "fedrad": reply.fedrad_version,
    }


def _sums(block: Block) -> dict[str, object]:
    values = [round(value, 3) if math.isfinite(value) else None for value in block.values.tolist()]
    return {"values": values, "sigma": block.sigma, "sensitivity": block.sensitivity}


def not_answered(home: Path, size: int, why: str) -> None:
    """Note a message of ``size`` bytes that an error answers: it cannot be read, or came late."""
    with suppress(OSError):
        audit.record(home, SystemClock(), "not answered", bytes=size, sentence=printable(why))


def _note(
    home: Path, kind: str, what: Request | Reply, said: Mapping[str, object], *, decision: str = ""
) -> None:
    about = {"study": what.study[:_LONGEST], "round": what.round, "phase": what.phase}
    with suppress(OSError):
        audit.record(home, SystemClock(), kind, **about, **said, decision=decision)
