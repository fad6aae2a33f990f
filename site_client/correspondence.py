"""The site's record of every message: what came, and what left, with digest, size and decision.

Lines of ``audit.jsonl`` that the coordinator can compare with its own. A disk that refuses keeps
no line; whether there is an answer is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fedrad.clock import SystemClock
from fedrad.documents import printable
from fedrad.protocol.digests import reply_digest, request_digest
from fedrad.protocol.messages import Reply, Request
from site_client import audit

_LONGEST = 100  # characters of a study's name; a longer one is none


def received(home: Path, request: Request, size: int) -> None:
    """Note a request of ``size`` bytes, before anything is decided."""
    _note(home, "received", request, {"digest": request_digest(request), "bytes": size})


def sent(home: Path, reply: Reply, size: int) -> None:
    """Note a reply of ``size`` bytes that is about to leave."""
    how = f"{reply.outcome}: {reply.reason_code}" if reply.reason_code else reply.outcome
    _note(home, "sent", reply, {"digest": reply_digest(reply), "bytes": size}, decision=how)


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
