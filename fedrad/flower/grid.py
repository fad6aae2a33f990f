"""The coordinator's grid of hospitals: packed messages, one question for all replies, none lost.

Flower hands a message to a node once. If the connection breaks before the node has it whole,
nobody would ever send it again, and the round would wait for its deadline; here a question
that its node has not confirmed is asked once more. So is one whose reply Flower handed out and
nobody got, and, once, one that a site's worker died on. A site that answers one question
twice sends the reply that it kept. Seconds throughout.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from flwr.app import ArrayRecord, Error, Message, RecordDict

from fedrad.flower.lookup import private
from fedrad.flower.messages import APP_CRASHED
from fedrad.flower.packing import Packer, unpack
from fedrad.flower.pulling import pull
from fedrad.flower.pushing import push
from fedrad.flower.waits import SHORTEST_S, Patience

_HttpGrid = private("flwr.superlink.grid.http_grid", "HttpGrid")
_pb = private("flwr.proto", "runtime_pb2")
_ErrorCode = private("flwr.common.constant", "ErrorCode")
_make_message = private("flwr.app.message", "make_message")
_metadata_from = private("flwr.common.serde", "metadata_from_proto")
_PullError = private("flwr.supercore.inflatable.inflatable_utils", "ObjectPullError")
_PullObject = private("flwr.proto.message_pb2", "PullObjectRequest")

_log = logging.getLogger(__name__)
_REFUSED_OBJECTS = (_PullError, ValueError)
_RETURN_S, _LOOK_S = 100.0, 1.0  # Flower refuses a node for 60 s after it died
_POLL_S = 0.15  # the SuperLink needs about a tenth of that to answer
_UNCONFIRMED_S = 30.0  # and what the bytes need; then twice that, and so on: it is asked again
_SLOWEST = 2.0**20  # bytes a second that all sites together may need for what they were sent
_MOST_TIMES = 4
_AGAIN = {int(_ErrorCode.MESSAGE_UNAVAILABLE): _MOST_TIMES, APP_CRASHED: 2}  # times in all


@dataclass(slots=True)
class _Question:
    """A message that is out, and how often it was sent."""

    asked: Any  # the message's metadata
    packed: RecordDict
    next_s: float  # when to look whether its node has it
    wait_s: float
    ids: list[str] = field(default_factory=list)  # of each time it was sent, if still awaited
    times: int = 1  # that it was sent


class PolledGrid(_HttpGrid):  # type: ignore[misc,valid-type]  # looked up, not imported
    """Flower's grid with packed messages, and one request for all replies that are out.

    What has come is held as metadata only; its content is pulled when it is asked for, so
    that one update at a time is in memory. A question to a node that has just gone waits for
    its return: Flower would answer it with an error at once, and a round after the other
    would be void while the others pay for it.
    """

    poll_s = SHORTEST_S  # of looking here; the SuperLink is asked as ``Patience`` says

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._out: dict[str, _Question] = {}  # by the id that the caller knows
        self._first: dict[str, str] = {}  # any id -> that id
        self._here: dict[str, tuple[Any, Any]] = {}
        self._patience = Patience(share=0.02, shortest_s=_POLL_S)
        self._next_s = 0.0
        self._kept: set[str] = set()
        self._gone: dict[int, float] = {}  # node -> since when it is missed

    def keep(self, message_ids: Iterable[str]) -> None:
        """Let the replies to these messages be pulled after the next push too.

        Their questions are not asked again.
        """
        self._kept = set(message_ids)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, packed; return their ids in order."""
        asked, packer = list(messages), Packer()
        self._forget()
        if not asked:
            return []
        self._await({message.metadata.dst_node_id for message in asked})
        packed = [packer.pack(message.content) for message in asked]
        ids = self._send(asked, packed)
        wait_s = _UNCONFIRMED_S + sum(map(_tensor_bytes, packed)) / _SLOWEST
        for message_id, message, content in zip(ids, asked, packed, strict=True):
            if message_id:
                look_s = time.monotonic() + wait_s
                question = _Question(message.metadata, content, look_s, wait_s, [message_id])
                self._out[message_id], self._first[message_id] = question, message_id
        self._patience.something_happened()
        return ids

    def _forget(self) -> None:
        """Forget what is out and here, less what is kept: nobody waits for it any more."""
        self._out = {key: one for key, one in self._out.items() if key in self._kept}
        self._here = {key: one for key, one in self._here.items() if key in self._kept}
        self._first = {one: key for one, key in self._first.items() if key in self._out}
        for question in self._out.values():
            question.packed, question.next_s = RecordDict(), math.inf

    def _send(self, messages: list[Message], packed: list[RecordDict]) -> list[str]:
        contents = [message.content for message in messages]
        try:
            for message, content in zip(messages, packed, strict=True):
                message.content = content
            return push(self._runtime_client, self.node, messages)
        finally:
            for message, content in zip(messages, contents, strict=True):
                message.content = content

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to these messages that have come, unpacked."""
        self._ask()
        here = [self._here.pop(key) for key in message_ids if key in self._here]
        return [self._content(*one) for one in here]

    def _await(self, nodes: set[int]) -> None:
        """Wait for nodes that are away, each for as long as a killed one may need."""
        while True:
            now, here = time.monotonic(), {node.node_id for node in self.get_nodes()}
            away = nodes - here
            self._gone = {node: self._gone.get(node, now) for node in away}
            if all(now - since > _RETURN_S for since in self._gone.values()):
                return
            time.sleep(_LOOK_S)

    def _ask(self) -> None:
        if not self._out or time.monotonic() < self._next_s:
            return
        wanted = sorted(key for question in self._out.values() for key in question.ids)
        answer = self._runtime_client.PullMessages(_pb.PullAppMessagesRequest(message_ids=wanted))
        for message, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            self._take(message, tree)
            self._patience.something_happened()
        now = time.monotonic()
        for key, question in self._out.items():
            if now > question.next_s and question.times < _MOST_TIMES:
                self._look_after(key, question)
        self._next_s = now + self._patience.wait_s()

    def _take(self, message: Any, tree: Any) -> None:
        """Note that a reply is here; one that says that there is none may be asked for again."""
        lost = message.metadata.reply_to_message_id
        key = self._first[lost]
        question = self._out.get(key)
        if question is None:  # it was answered twice
            return
        if message.HasField("error") and message.error.code in _AGAIN:
            question.ids.remove(lost)
            most = _AGAIN[message.error.code]
            if question.ids or (question.times < most and self._ask_again(key, question)):
                return
        del self._out[key]
        self._here[key] = (message, tree)

    def _look_after(self, key: str, question: _Question) -> None:
        """Send a question once more if its node has not got it whole."""
        question.wait_s *= 2
        question.next_s = time.monotonic() + question.wait_s
        if not self._confirmed(question.ids[-1]):
            self._ask_again(key, question)

    def _ask_again(self, key: str, question: _Question) -> bool:
        """Send a question once more, if its round is open and its node there; whether it was."""
        metadata = question.asked
        here = {node.node_id for node in self.get_nodes()}
        if math.isinf(question.next_s) or metadata.dst_node_id not in here:
            return False
        again = Message(
            question.packed,
            metadata.dst_node_id,
            metadata.message_type,
            ttl=metadata.ttl,
            group_id=metadata.group_id,
        )
        _log.warning("a question is asked again: it or its reply was lost")
        [new] = self._send([again], [question.packed])
        if new:
            question.ids.append(new)
            question.times += 1
            self._first[new] = key
        return bool(new)

    def _confirmed(self, message_id: str) -> bool:
        """Whether a node has a message: Flower then forgets the message's own object."""
        request = _PullObject(node=self.node, run_id=self._run.run_id, object_id=message_id)
        return not self._runtime_client.PullObject(request).object_found

    def _content(self, head: Any, tree: Any) -> Message:
        """Pull one reply's content; a reply that cannot be had is an error reply."""
        run_id, client = self._run.run_id, self._runtime_client
        try:
            message = pull(client, self.node, run_id, tree)
        except _REFUSED_OBJECTS:
            return _unavailable(head, self._first[head.metadata.reply_to_message_id])
        message.metadata.__dict__["_message_id"] = head.metadata.message_id
        first = self._first[head.metadata.reply_to_message_id]
        message.metadata.__dict__["_reply_to_message_id"] = first
        if message.has_content():
            message.content = unpack(message.content)
        return message


def _tensor_bytes(content: RecordDict) -> int:
    tensors = (record for record in content.values() if isinstance(record, ArrayRecord))
    return sum(len(array.data) for record in tensors for array in record.values())


def _unavailable(head: Any, asked: str) -> Message:
    metadata = _metadata_from(head.metadata)
    metadata.__dict__["_reply_to_message_id"] = asked
    error = Error(code=_ErrorCode.MESSAGE_UNAVAILABLE, reason="the reply was not sent whole")
    return cast("Message", _make_message(metadata=metadata, error=error))
