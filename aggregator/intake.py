"""One reply on its way in: whose it is, whether it may be used, where it is written.

Every reply ends as one row with an outcome, and so does every silence. An accepted update
is on disk, synced, before its row is written; the row says what the round may fold. A
reply's ledger lines are recorded even when its update is refused: they were spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from flwr.app import Message

from aggregator import checkpoints, correspondence, quarantine
from aggregator.correspondence import Correspondence
from aggregator.heard import read_heard
from aggregator.setup import RunSetup
from aggregator.spending import Spending, most_lines, parse_lines
from aggregator.store import Store, report_rows
from aggregator.tables import Answer, Report, Spent
from fedrad import flower
from fedrad.agreed_sums import check_audit
from fedrad.documents import printable
from fedrad.errors import ProtocolError
from fedrad.parameters import Parameters
from fedrad.protocol import checks
from fedrad.protocol.codec import content_bytes, decode_reply
from fedrad.protocol.messages import SCHEMA, Block, Reason, Reply, Request, reply_id

_LONGEST_DETAIL = 200  # characters of a message that a site had a part in
_LONGEST_HEAD = 64  # characters: a SHA-256
_ERRORS = {flower.APP_RAISED: ("failed", "failed"), flower.REFUSED: ("refused", "declined")}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that is out."""

    node: int
    site: str
    request: Request
    since_s: float


RowsOf = Callable[[Asked, tuple[Block, ...]], Iterable[Report]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A reply that was read, not yet recorded."""

    asked: Asked
    reply: Reply
    size: int  # bytes
    spent: list[Spent]
    blameless: bool = False  # whatever is wrong with it is not its site's doing


class Intake:
    """What is out and what comes in, for one phase at a time."""

    def __init__(self, setup: RunSetup, store: Store) -> None:
        self._setup, self._store = setup, store
        record = setup.audit or setup.folder / correspondence.NAME
        self._letters = Correspondence(record, setup.clock)
        self._spending = Spending(setup.task.privacy.delta, most_lines=most_lines(setup.task))
        self._by_node: dict[int, Asked] = {}
        self._by_message: dict[str, Asked] = {}
        heard = read_heard(store)  # of a run that goes on
        self.heads = heard.heads  # site -> the last ledger head seen
        self.out_of_budget = set(heard.out_of_budget)  # sites that will not train again
        for number, site, lines in heard.lines:
            self._spending.take(number, site, lines)

    def expect(self, node: int, request: Request, site: str) -> None:
        """Note a question that is about to go out."""
        self._by_node[node] = Asked(node, site, request, self._setup.clock.monotonic_s())

    def sent(self, messages: Iterable[Message]) -> None:
        """Note the ids that the grid gave to the questions.

        The sender of an error reply is the grid, not the node: only the id tells the site.
        A question that the grid refused has no id; its site is ``offline`` at the close.
        """
        for message in messages:
            if message.metadata.message_id:
                asked = self._by_node.pop(message.metadata.dst_node_id)
                self._by_message[message.metadata.message_id] = asked
                self._letters.sent(asked.site, asked.request, content_bytes(message))
        self._tell()

    @property
    def deadlines(self) -> dict[str, float]:
        """Return the deadline in seconds that each question that is out was sent with."""
        return {key: asked.request.deadline_s for key, asked in self._by_message.items()}

    def take_update(self, message: Message, like: Parameters) -> dict[str, str]:
        """Take a reply to ``train``.

        Args:
            message: The reply.
            like: The parameters of the model that an update changes.

        Returns:
            The site and the digest of its update, if it was accepted; else nothing.
        """
        opened = self._open(message)
        if opened is None:
            return {}
        asked, update = opened.asked, opened.reply.update
        try:
            checks.check_update(opened.reply, like, max_norm=checks.norm_ceiling(like))
        except ProtocolError as error:
            self._refuse(opened, error)
            return {}
        checkpoints.write_reply(self._setup.folder, asked.request.round, asked.site, update=update)
        self._record(opened)
        return {asked.site: opened.reply.update_digest}

    def take_blocks(self, message: Message) -> dict[str, tuple[Block, ...]]:
        """Take a reply to ``evaluate``; return the site and its sums, if accepted."""
        return self.take_sums(message, self._audited)

    def take_sums(self, message: Message, rows_of: RowsOf) -> dict[str, tuple[Block, ...]]:
        """Take a reply that carries sums; return the site and its sums, if accepted.

        Args:
            message: The reply.
            rows_of: From a question and the sums to the rows that they become; raises
                ``ProtocolError`` for sums that cannot be used.
        """
        opened = self._open(message)
        if opened is None:
            return {}
        asked, blocks = opened.asked, opened.reply.blocks
        try:
            rows = list(rows_of(asked, blocks))
        except ProtocolError as error:
            self._refuse(opened, error)
            return {}
        self._record(opened, rows)
        return {asked.site: blocks}

    def close(self) -> dict[str, Asked]:
        """End the phase: who has not answered is ``offline``.

        Returns:
            The questions to train that are still out, by message id.
        """
        out = {key: one for key, one in self._by_message.items() if one.request.phase == "train"}
        for asked in (*self._by_message.values(), *self._by_node.values()):
            self._store.record_reply(self._answer(asked, "failed", "offline"))
            self._letters.silent(asked.site, asked.request, "no answer")
        self._by_message.clear()
        self._by_node.clear()
        return out

    def read(self, asked: Asked, message: Message) -> Opened:
        """Return a reply that is its site's own, with what it says was spent taken in.

        Raises:
            ProtocolError: It is not an answer to this question, or its lines are not agreed.
        """
        size = content_bytes(message)
        if message.metadata.src_node_id != asked.node:
            raise ProtocolError("the reply comes from another node than the one that was asked")
        reply = decode_reply(message)
        checks.check_identity(reply, asked.request, asked.site)
        return Opened(asked, reply, size, self._spend(asked, reply))

    def note(self, opened: Opened, decision: str) -> None:
        """Write what was decided about a reply into the record of letters."""
        asked, reply = opened.asked, opened.reply
        read = None if reply.reply_id == "" else reply
        self._letters.received(asked.site, asked.request, read, size=opened.size, decision=decision)

    def _audited(self, asked: Asked, blocks: tuple[Block, ...]) -> Iterator[Report]:
        terms, request = self._setup.contract.sites[asked.site], asked.request
        check_audit(blocks, self._setup.task, audit_sigma=terms.audit_sigma)
        digest = request.model_digest
        return report_rows(request.round, asked.site, model_digest=digest, blocks=blocks)

    def _open(self, message: Message) -> Opened | None:
        """Return a reply that is its site's own and says ``done``; record any other."""
        asked = self._by_message.pop(message.metadata.reply_to_message_id, None)
        if asked is None:
            return None
        self._tell()
        if message.has_error():
            self._no_answer(asked, message)
            return None
        try:
            opened = self.read(asked, message)
        except ProtocolError as error:
            self._refuse(unusable(asked, message), error)
            return None
        if opened.reply.outcome == "done":
            return opened
        if opened.reply.reason_code == "budget" and asked.request.phase == "train":
            self.out_of_budget.add(asked.site)
        self._record(opened)
        return None

    def _no_answer(self, asked: Asked, message: Message) -> None:
        """Record an error that came in a reply's place: the site's own, or the grid's."""
        outcome, reason = _ERRORS.get(message.error.code, ("failed", "offline"))
        self._store.record_reply(self._answer(asked, outcome, reason))
        said = printable(str(message.error.reason or ""), _LONGEST_DETAIL)
        self._letters.silent(asked.site, asked.request, f"an error: {reason}: {said}")

    def _spend(self, asked: Asked, reply: Reply) -> list[Spent]:
        """Take in what the reply says was spent; nothing of it if any line is not agreed."""
        setup, site = self._setup, asked.site
        if len(reply.ledger_head) > _LONGEST_HEAD:
            raise ProtocolError("the ledger's head is longer than a hash")
        lines = parse_lines(reply.events)
        for line in lines:
            checks.check_line(line, setup.task, setup.contract, site=site)
        spent = self._spending.rows(asked.request.round, site, lines)
        if reply.ledger_head:
            self.heads[site] = reply.ledger_head
        return spent

    def _record(self, opened: Opened, reports: Iterable[Report] = ()) -> None:
        reply = opened.reply
        reason = _reason(reply) if reply.outcome == "failed" else reply.reason_code
        answer = self._answer(opened.asked, reply.outcome, reason)
        answer.update_digest, answer.ledger_head = reply.update_digest, reply.ledger_head
        answer.bytes = opened.size
        also = [*opened.spent, *reports]
        self._store.record_reply(answer, also, ledger_lines=reply.events)
        how = "accepted" if reply.outcome == "done" else f"{reply.outcome}: {reason}"
        self.note(opened, how)

    def _refuse(self, opened: Opened, error: ProtocolError) -> None:
        asked = opened.asked
        answer = self._answer(asked, "failed", _reason(opened.reply))
        answer.bytes = opened.size
        if opened.reply.ledger_head == self.heads.get(asked.site, ""):  # taken in, so an anchor
            answer.ledger_head = opened.reply.ledger_head
        lines = opened.reply.events if opened.spent else ()
        self._store.record_reply(answer, opened.spent, ledger_lines=lines)
        detail = {"phase": asked.request.phase, "problem": str(error)[:_LONGEST_DETAIL]}
        said = detail | ({quarantine.BLAMELESS: True} if opened.blameless else {})
        number, site = asked.request.round, asked.site
        self._store.record_event(quarantine.REFUSED, number, site=site, detail=said)
        self.note(opened, f"not accepted: {detail['problem']}")

    def _answer(self, asked: Asked, outcome: str, reason: str) -> Answer:
        return Answer(
            round=asked.request.round,
            phase=asked.request.phase,
            site=asked.site,
            reply_id=reply_id(asked.request, asked.site),
            outcome=outcome,
            reason_code=reason,
            seconds=self._setup.clock.monotonic_s() - asked.since_s,
        )

    def _tell(self) -> None:
        waiting = sorted(asked.site for asked in self._by_message.values())
        phases = {asked.request.phase for asked in self._by_message.values()}
        self._setup.progress.waiting_for(min(phases, default=""), waiting)


def unusable(asked: Asked, message: Message) -> Opened:
    """Return what stands for a reply that cannot be used, as far as it can be read.

    Its site is not to blame for another wire protocol, nor for what a stranger sent.
    """
    stranger = message.metadata.src_node_id != asked.node
    reply = _unread(asked.request)
    if not stranger:
        with suppress(ProtocolError):
            reply = decode_reply(message)
    blameless = stranger or reply.schema != SCHEMA
    return Opened(asked, reply, content_bytes(message), [], blameless=blameless)


def _unread(request: Request) -> Reply:
    """Return what stands for a reply that could not be read."""
    return Reply(
        study=request.study,
        task_hash=request.task_hash,
        round=request.round,
        phase=request.phase,
        model_digest=request.model_digest,
        reply_id="",
        outcome="failed",
    )


def _reason(reply: Reply) -> Reason:
    """Return why a reply failed, as far as the wire may say: another protocol, or an error.

    Releases of fedrad mix within a study: ``fedrad_version`` decides nothing.
    """
    return "failed" if reply.schema == SCHEMA else "version"
