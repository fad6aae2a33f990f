"""Flower's node loop with short waits, and with one flaw mended.

The loop takes one message at a time and waits for its reply. Where a run ends while its
message is being pulled, Flower leaves the message and its task behind: the task is worked on
all the same, and its late reply ends the wait for the reply to the next message, which is then
sent only when yet another message comes. Here such a message is forgotten with its task, and
the wait is for the reply to the message at hand. A message that is larger than the site takes is
left where it is after that many bytes, and answered with a refusal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from flwr.app import Error, Message

from fedrad.errors import MessageTooLargeError
from fedrad.flower.lookup import private
from fedrad.flower.messages import REFUSED
from fedrad.flower.waits import SHORTEST_S, Patience, shorten_object_waits

_loop = private("flwr.supernode.start_client_internal", "__dict__")
_pull_message = private("flwr.supernode.start_client_internal", "_pull_and_store_message")
_insert_message = private("flwr.supernode.start_client_internal", "_insert_message")
_push_messages = private("flwr.supernode.start_client_internal", "_push_messages")
_Status = private("flwr.common.constant", "Status")
_SubStatus = private("flwr.common.constant", "SubStatus")
_FLOWERS_IDLE_S = 3.0  # what the loop sleeps when there was no message
_log = logging.getLogger(__name__)
_SHORTEST_S = 0.2  # a hospital's shortest wait: every question is the coordinator's work


def mend_loop(task_came: Callable[[], None], *, most_bytes: int) -> None:
    """Mend the node loop of this process.

    Args:
        task_came: Called when a message has arrived, before its reply is awaited.
        most_bytes: Of the objects of one message.
    """
    asked = _Asked(task_came, most_bytes)
    _loop["_pull_and_store_message"] = asked.pull
    _loop["_push_messages"] = asked.push
    _loop["time"] = SimpleNamespace(sleep=_short_sleep())
    shorten_object_waits()


class _Asked:
    """The message at hand."""

    def __init__(self, task_came: Callable[[], None], most_bytes: int) -> None:
        self._task_came, self._most_bytes, self._message_id = task_came, most_bytes, ""

    def pull(
        self,
        *,
        receive: Callable[[], Any],
        pull_object: Callable[[int, str], bytes],
        **given: Any,
    ) -> int | None:
        """Pull a message as Flower does; forget one that did not arrive whole."""
        received: list[Message] = []
        room = _Room(pull_object, self._most_bytes)

        def noted() -> Any:
            found = receive()
            if found is not None:
                received.append(found[0])
            return found

        run_id: int | None = _pull_message(receive=noted, pull_object=room.pull, **given)
        if received and run_id is None:
            _forget(given["state"], given["object_store"], received[0].metadata)
            if room.problem:
                run_id = _refuse(received[0], room.problem, given)
        self._message_id = received[0].metadata.message_id if received else ""
        return run_id

    def push(self, *, send: Callable[..., Any], **given: Any) -> None:
        """Push replies as Flower does, until the one to the message at hand was pushed."""
        answered = set()

        def noted(message: Any, *more: Any) -> Any:
            answered.add(message.metadata.reply_to_message_id)
            return send(message, *more)

        self._task_came()
        while self._message_id not in answered:
            _push_messages(send=noted, **given)


class _Room:
    """Pulls the objects of one message while there is room for them; several at a time."""

    def __init__(self, pull_object: Callable[[int, str], bytes], most_bytes: int) -> None:
        self._pull, self._most, self._left = pull_object, most_bytes, most_bytes
        self._lock = threading.Lock()
        self.problem = ""

    def pull(self, run_id: int, object_id: str) -> bytes:
        """Return an object's content.

        Raises:
            MessageTooLargeError: With it the message is too large.
        """
        try:
            self._refuse_beyond()
            content = self._pull(run_id, object_id)
            with self._lock:
                self._left -= len(content)
            self._refuse_beyond()
        except MessageTooLargeError as error:
            self.problem = str(error)
            raise
        return content

    def _refuse_beyond(self) -> None:
        if self._left < 0:
            raise MessageTooLargeError(f"a message of more than {self._most} bytes is not taken")


def _refuse(message: Message, problem: str, given: dict[str, Any]) -> int:
    """Put a refusal where Flower looks for the reply to a message; return its run."""
    _log.warning("%s; site.toml [resources] message_mib says how much", problem)
    reply = Message(Error(code=REFUSED, reason=f"the site refuses: {problem}"), reply_to=message)
    _insert_message(reply, given["state"], given["object_store"])
    return int(message.metadata.run_id)


def _forget(state: Any, store: Any, metadata: Any) -> None:
    state.delete_messages(message_ids=[metadata.message_id])
    store.delete(metadata.message_id)
    for task in state.get_tasks(run_ids=[metadata.run_id]):
        if task.status.status != _Status.FINISHED:
            why = "its run ended while it was pulled"
            state.finish_task(task.task_id, sub_status=_SubStatus.FAILED, details=why)


def _short_sleep() -> Callable[[float], None]:
    patience = Patience(shortest_s=_SHORTEST_S)

    def sleep(asked_s: float) -> None:
        if asked_s < _FLOWERS_IDLE_S:  # a reply is awaited: the site is at work
            patience.something_happened()
            time.sleep(SHORTEST_S)
        else:
            time.sleep(patience.wait_s())

    return sleep
