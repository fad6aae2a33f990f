"""The coordinator's record of every message: what was sent, what came, what was decided.

Lines of the chained record (``fedrad.audit_log``) that a hospital can compare with its own. A
decision is one of a few words, with the reason where a reply was refused.
"""

from __future__ import annotations

from pathlib import Path

from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.protocol.digests import reply_digest, request_digest
from fedrad.protocol.messages import Reply, Request

NAME = "messages.jsonl"  # in a run folder, where no coordinator's home keeps the record


class Correspondence:
    """Writes one line for each message."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def sent(self, site: str, request: Request, size: int) -> None:
        """Note a request of ``size`` bytes that a grid took."""
        self._note("sent", site, request, request_digest(request), size, "asked")

    def received(
        self, site: str, request: Request, reply: Reply | None, *, size: int, decision: str
    ) -> None:
        """Note a reply and what was decided; ``None`` is one that could not be read."""
        digest = "" if reply is None else reply_digest(reply)
        self._note("received", site, request, digest, size, decision)

    def silent(self, site: str, request: Request, decision: str) -> None:
        """Note that nothing came that is a site's answer."""
        self._note("silent", site, request, "", 0, decision)

    def _note(  # noqa: PLR0913, PLR0917
        self, kind: str, site: str, request: Request, digest: str, size: int, decision: str
    ) -> None:
        audit_log.record(
            self._path,
            self._clock,
            kind,
            site=site,
            study=request.study,
            round=request.round,
            phase=request.phase,
            digest=digest,
            bytes=size,
            decision=decision,
        )
