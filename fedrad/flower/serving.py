"""The coordinator's task: a grid of hospitals for the installed ServerApp.

What Flower's own runner does, without what this one must not: no bundle is opened, nothing
is installed, no log is uploaded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedrad.flower.bundle import STUDY_KEY
from fedrad.flower.lookup import private
from fedrad.flower.packing import Packer, unpack
from fedrad.flower.tasks import COMPLETED, FAILED, Runtime
from fedrad.flower.waits import SHORTEST_S, Patience, shorten_object_waits

_HttpGrid = private("flwr.superlink.grid.http_grid", "HttpGrid")
_Identity = private("flwr.supercore.task_identity", "TaskIdentity")
_context_from = private("flwr.common.serde", "context_from_proto")
_run_from = private("flwr.common.serde", "run_from_proto")
_pb = private("flwr.proto", "runtime_pb2")
_pull_tree = private(
    "flwr.supercore.inflatable.inflatable_utils", "pull_and_inflate_object_from_tree"
)
_pull_fn = private(
    "flwr.supercore.inflatable.inflatable_protobuf_utils", "make_pull_object_fn_protobuf"
)
_confirm_fn = private(
    "flwr.supercore.inflatable.inflatable_protobuf_utils",
    "make_confirm_message_received_fn_protobuf",
)
_ErrorCode = private("flwr.common.constant", "ErrorCode")
_make_message = private("flwr.app.message", "make_message")
_metadata_from = private("flwr.common.serde", "metadata_from_proto")
_PullError = private("flwr.supercore.inflatable.inflatable_utils", "ObjectPullError")
_REFUSED_OBJECTS = (_PullError, TypeError, ValueError, KeyError)
_RETURN_S, _LOOK_S = 100.0, 1.0  # Flower refuses a node for 60 s after it died
_POLL_S = 0.15  # the SuperLink needs about a tenth of that to answer

Study = Callable[[Grid, Context], None]
_BEAT_S = 10.0


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
        self._out: set[str] = set()
        self._here: dict[str, tuple[Any, Any]] = {}
        self._patience = Patience(share=0.02, shortest_s=_POLL_S)
        self._next_s = 0.0
        self._gone: dict[int, float] = {}  # node -> since when it is missed

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, packed; return their ids in order."""
        asked, packer = list(messages), Packer()
        self._await({message.metadata.dst_node_id for message in asked})
        contents = [message.content for message in asked]
        try:
            for message in asked:
                message.content = packer.pack(message.content)
            ids = list(super().push_messages(asked))
        finally:
            for message, content in zip(asked, contents, strict=True):
                message.content = content
        self._out |= {message_id for message_id in ids if message_id}
        self._patience.something_happened()
        return ids

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
        request = _pb.PullAppMessagesRequest(message_ids=sorted(self._out))
        answer = self._runtime_client.PullMessages(request)
        for message, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            self._here[message.metadata.reply_to_message_id] = (message, tree)
            self._out.discard(message.metadata.reply_to_message_id)
            self._patience.something_happened()
        self._next_s = time.monotonic() + self._patience.wait_s()

    def _content(self, head: Any, tree: Any) -> Message:
        """Pull one reply's content; a reply that cannot be had is an error reply."""
        run_id, client = self._run.run_id, self._runtime_client
        try:
            message = _pull_tree(
                tree,
                _pull_fn(client.PullObject, self.node, run_id),
                _confirm_fn(client.ConfirmMessageReceived, self.node, run_id),
                return_type=Message,
            )
        except _REFUSED_OBJECTS:
            return _unavailable(head)
        message.metadata.__dict__["_message_id"] = head.metadata.message_id
        if message.has_content():
            message.content = unpack(message.content)
        return cast("Message", message)


def _unavailable(head: Any) -> Message:
    metadata = _metadata_from(head.metadata)
    error = Error(code=_ErrorCode.MESSAGE_UNAVAILABLE, reason="the reply was not sent whole")
    return cast("Message", _make_message(metadata=metadata, error=error))


def serve(runtime: Runtime, token: str, study_of: Callable[[str], Study]) -> None:
    """Run the study that this task is for and tell the SuperLink how it ended.

    Args:
        runtime: The SuperLink.
        token: The task's.
        study_of: From the study's name to what runs it; what it raises ends the run.

    Raises:
        Exception: Whatever the study raised, once the SuperLink was told.
    """
    shorten_object_waits()
    grid = PolledGrid(
        runtime.address, insecure=runtime.ca is None, root_certificates=runtime.ca, token=token
    )
    done = threading.Event()
    threading.Thread(target=_beat, args=(grid, done), daemon=True).start()
    status, details = FAILED, "the run did not end by itself"
    try:
        context, study = _begin(grid)
        study_of(study)(grid, context)
        status, details = COMPLETED, ""
    except Exception as error:
        details = f"{type(error).__name__}: {error}"
        raise
    finally:
        done.set()
        request = _pb.PushTaskOutputRequest(sub_status=status, details=details)
        grid._retry_invoker.max_tries = 3
        grid._runtime_client.PushTaskOutput(request)
        grid.close()


def _begin(grid: Any) -> tuple[Context, str]:
    found = grid._runtime_client.PullTaskInput(_pb.PullTaskInputRequest())
    _Identity.task_id, _Identity.run_id = found.task_id, found.run.run_id
    _Identity.node_id = found.context.node_id
    run, context = _run_from(found.run), _context_from(found.context)
    context.state = RecordDict()
    grid.set_run(run)
    return context, str(run.override_config.get(STUDY_KEY, ""))


def _beat(grid: Any, done: threading.Event) -> None:
    while not done.wait(_BEAT_S):
        grid._runtime_client.SendTaskHeartbeat(_pb.SendTaskHeartbeatRequest())
