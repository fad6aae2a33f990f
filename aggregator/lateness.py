"""Replies that come after their round was closed: discarded, or carried into the next fold.

A late update was trained on an older model and charged in its own round; folding it one round
later spends nothing. Where the task says ``late = "carry"`` it counts in the first round that
is open when it comes, with its site's own share, at most ``staleness`` rounds after its own,
and only if its site has no newer update there. What is not carried is a row with the reason
``late``; the ledger lines that it tells are recorded either way. Sums of an evaluation are
never carried: they belong to one model.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flwr.app import Message

from aggregator import checkpoints, quarantine
from aggregator.accepted import LATE
from aggregator.intake import Asked, Intake, Opened, unusable
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Answer
from fedrad.errors import ProtocolError
from fedrad.parameters import Parameters
from fedrad.protocol import checks
from fedrad.protocol.messages import Reply, reply_id

_LONGEST = 200  # characters of what a site had a part in


class Lateness:
    """The questions to train that nobody answered in time."""

    def __init__(self, setup: RunSetup, store: Store, intake: Intake) -> None:
        self._setup, self._store, self._intake = setup, store, intake
        self._waiting: dict[str, Asked] = {}  # by message id

    def missed(self, questions: dict[str, Asked]) -> None:
        """Note questions whose round was closed."""
        self._waiting |= questions

    def ids(self, number: int) -> list[str]:
        """Return the messages whose replies may still come in round ``number``."""
        oldest = number - self._setup.task.federation.staleness
        self._waiting = {
            key: asked for key, asked in self._waiting.items() if asked.request.round >= oldest
        }
        return list(self._waiting)

    def knows(self, message: Message) -> bool:
        """Whether a message answers a question of a round that was closed."""
        return message.metadata.reply_to_message_id in self._waiting

    def take(
        self, message: Message, like: Parameters, number: int, *, here: Collection[str]
    ) -> dict[str, str]:
        """Take a late reply while round ``number`` is open.

        Args:
            message: The reply.
            like: The parameters of the model that an update changes.
            number: The round that is open.
            here: Sites that have an update in it.

        Returns:
            The site and the digest of its update, if it is carried; else nothing.
        """
        asked = self._waiting.pop(message.metadata.reply_to_message_id)
        if message.has_error():
            return {}
        try:
            opened = self._intake.read(asked, message)
        except ProtocolError as error:
            detail = {quarantine.BLAMELESS: True} if unusable(asked, message).blameless else {}
            self._refuse(asked.site, number, {"problem": str(error)[:_LONGEST]} | detail)
            return {}
        problem = _problem(opened.reply, like)
        why = problem or self._why_not(opened, here)
        return self._decide(opened, number, why, refused=problem)

    def _decide(self, opened: Opened, number: int, why: str, *, refused: str) -> dict[str, str]:
        """Write what came: its row has the ledger lines, whether its update is used or not."""
        site, update = opened.asked.site, opened.reply.update
        if not why:
            checkpoints.write_late(self._setup.folder, number, site, update=update)
        self._record(opened, number, why)
        if refused:
            self._refuse(site, number, {"problem": refused})
        return {} if why else {site: opened.reply.update_digest}

    def _refuse(self, site: str, number: int, detail: dict[str, Any]) -> None:
        said = {"phase": LATE} | detail
        self._store.record_event(quarantine.REFUSED, number, site=site, detail=said)

    def _why_not(self, opened: Opened, here: Collection[str]) -> str:
        """Return why an update is not carried; empty: it is."""
        if opened.reply.outcome != "done":
            return f"the site answered {opened.reply.outcome}"
        if self._setup.task.federation.late == "discard":
            return "the task discards late replies"
        if opened.asked.site in here:
            return "the site has an update in this round already"
        return ""

    def _record(self, opened: Opened, number: int, why: str) -> None:
        asked, reply = opened.asked, opened.reply
        answer = Answer(
            round=number,
            phase=LATE,
            site=asked.site,
            reply_id=f"{reply_id(asked.request, asked.site)}#{LATE}",
            outcome="failed" if why else "done",
            reason_code=LATE if why else "",
            update_digest=reply.update_digest,
            ledger_head=reply.ledger_head,
            bytes=opened.size,
            seconds=self._setup.clock.monotonic_s() - asked.since_s,
        )
        self._store.record_reply(answer, opened.spent, ledger_lines=reply.events)
        kind = "late-discarded" if why else "late-carried"
        detail = {"of_round": asked.request.round} | ({"why": why} if why else {})
        self._store.record_event(kind, number, site=asked.site, detail=detail)
        self._intake.note(opened, f"came late: {why or f'carried into round {number}'}")


def _problem(reply: Reply, like: Parameters) -> str:
    """Return what is wrong with an update; empty: nothing, or there is none."""
    if reply.outcome != "done":
        return ""
    try:
        checks.check_update(reply, like, max_norm=checks.norm_ceiling(like))
    except ProtocolError as error:
        return str(error)[:_LONGEST]
    return ""
