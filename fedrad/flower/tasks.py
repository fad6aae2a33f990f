"""A hospital's tasks: taken from its SuperNode by the launcher, answered by the runner.

The launcher learns what kind a task is and which bundle it belongs to before anything is
read; it keeps the task's metadata, so that it can answer in the place of a runner that was
never asked or that died. The runner gets a task without its bundle: it could not open it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from flwr.app import Context, Error, Message

from fedrad.errors import RunError
from fedrad.flower.lookup import private
from fedrad.flower.packing import Packer, unpack
from fedrad.flower.pulling import pull
from fedrad.flower.pushing import push
from fedrad.flower.waits import shorten_object_waits

_TaskType = private("flwr.supercore.constant", "TaskType")
_SubStatus = private("flwr.common.constant", "SubStatus")
_ErrorCode = private("flwr.common.constant", "ErrorCode")
_RuntimeClient = private("flwr.supercore.runtime", "RuntimeHttpClient")
_Version = private("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor")
_Token = private("flwr.supercore.interceptors", "RuntimeTokenHttpInterceptor")
_Secret = private("flwr.supercore.interceptors", "SuperExecAuthHttpInterceptor")
_retries = private("flwr.supercore.retry", "make_simple_http_retry_invoker")
_pb = private("flwr.proto", "runtime_pb2")
_Node = private("flwr.proto.node_pb2", "Node")
_Identity = private("flwr.supercore.task_identity", "TaskIdentity")
_context_from = private("flwr.common.serde", "context_from_proto")
_message_from = private("flwr.common.serde", "message_from_proto")

CLIENT_TASK = str(_TaskType.CLIENT_APP)
SERVER_TASK = str(_TaskType.SERVER_APP)
EVERY_TASK = tuple(str(kind) for kind in _TaskType)
CRASHED = int(_ErrorCode.CLIENT_APP_CRASHED)
RAISED = int(_ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
TASK_CAME = "task"  # what a node says on its standard output: a task can be taken
COMPLETED, FAILED = str(_SubStatus.COMPLETED), str(_SubStatus.FAILED)
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


class WithdrawnError(RunError):
    """A task that its SuperNode took back before it was begun."""


UNREACHABLE = (httpx.HTTPError, ValueError, WithdrawnError)  # of one call: it came to nothing


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a SuperNode's or the SuperLink's Runtime API is; on this machine always."""

    address: str  # host:port
    ca: bytes | None = None  # PEM; absent: plain HTTP on the loopback

    def client(self, *interceptors: Any, patient: bool = False) -> Any:
        """Return a client; a patient one tries again for ever while nobody answers."""
        return _RuntimeClient.from_server_address(
            server_address=self.address,
            insecure=self.ca is None,
            root_certificates=self.ca,
            interceptors=[_Version(component_name="fedrad"), *interceptors],
            retry_invoker=_retries() if patient else None,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """A task that was taken: nobody else gets it, and it must be answered."""

    kind: str
    run_id: int
    bundle_digest: str
    token: str


class TaskSource:
    """The launcher's end: takes tasks with the secret that it shares with Flower's process."""

    def __init__(self, runtime: Runtime, secret: bytes) -> None:
        auth = _Secret(master_secret=secret, protected_methods={_ACQUIRE})
        self._client = runtime.client(auth)

    def acquire(self) -> Offer | None:
        """Take the oldest task of any kind, or ``None``.

        Raises:
            httpx.HTTPError: Nobody answers, or the secret is not the other end's.
        """
        request = _pb.AcquireTaskRequest(supported_task_types=EVERY_TASK)
        answer = self._client.AcquireTask(request)
        if not answer.token:
            return None
        task = answer.task
        return Offer(str(task.type), task.run_id, task.fab_hash, answer.token)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class ClientTask:
    """A site's task as the launcher holds it: its message's metadata, no content."""

    def __init__(self, runtime: Runtime, offer: Offer) -> None:
        self._client = runtime.client(_Token(offer.token))
        self._input = self._message = None
        self.offer = offer

    def open(self) -> bytes:
        """Start the task and return what a runner needs of it, without the bundle.

        Raises:
            httpx.HTTPError: The SuperNode is gone, or has given the task up.
            WithdrawnError: The task has no message: the SuperNode could not pull it whole.
        """
        found = self._client.PullTaskInput(_pb.PullTaskInputRequest())
        found.ClearField("fab")
        self._input, pulled = found, self._client.PullMessages(_pb.PullAppMessagesRequest())
        if len(pulled.messages_list) != 1:
            raise WithdrawnError(f"a task holds one message, not {len(pulled.messages_list)}")
        self._message = pulled
        return _pack(found.SerializeToString(), pulled.SerializeToString())

    @property
    def message_id(self) -> str:
        """The SHA-256 by which Flower names the task's message; empty before it was opened."""
        return str(self._message.messages_list[0].metadata.message_id) if self._message else ""

    def beat(self) -> bool:
        """Tell the SuperNode that the task is alive; ``False``: it has given it up."""
        return bool(self._client.SendTaskHeartbeat(_pb.SendTaskHeartbeatRequest()).success)

    def refuse(self, code: int, reason: str) -> None:
        """Answer with an error and end the task; ``reason`` goes over the wire.

        Raises:
            httpx.HTTPError: The SuperNode is gone, or has given the task up.
        """
        if self._message is not None:
            _identify(self._input)
            asked = _message_from(self._message.messages_list[0])
            reply = Message(Error(code=code, reason=reason), reply_to=asked)
            _push_message(self._client, reply)
        _finish(self._client, FAILED, reason)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def answer(
    runtime: Runtime, token: str, packed: bytes, app: Callable[[Message, Context], Message]
) -> None:
    """Pull the content of a task, let ``app`` answer it and push the answer.

    Args:
        runtime: The SuperNode.
        token: The task's.
        packed: What ``ClientTask.open`` returned.
        app: The installed app. What it raises becomes an error reply of the type's name.

    Raises:
        httpx.HTTPError: The SuperNode is gone, or has given the task up.
    """
    shorten_object_waits()
    client = runtime.client(_Token(token))
    try:
        found, pulled = _unpack(packed)
        _identify(found)
        context = _context_from(found.context)
        reply = _reply(app, _inflate(client, found, pulled), context)
        if reply.has_content():
            reply.content = Packer().pack(reply.content)
        _push_message(client, reply)
        _finish(client, FAILED if reply.has_error() else COMPLETED, "")
    finally:
        client.close()


def _reply(
    app: Callable[[Message, Context], Message], message: Message, context: Context
) -> Message:
    try:
        return app(message, context)
    except Exception as error:  # noqa: BLE001  # the edge of the site's app
        reason = f"the site's app raised {type(error).__name__}; its own log has more"
        return Message(Error(code=RAISED, reason=reason), reply_to=message)


def _inflate(client: Any, found: Any, pulled: Any) -> Message:
    node, tree = _Node(node_id=found.context.node_id), pulled.message_object_trees[0]
    message = pull(client, node, found.run.run_id, tree)
    message.metadata.__dict__["_message_id"] = tree.object_id
    message.content = unpack(message.content)
    return message


def _push_message(client: Any, message: Message) -> None:
    push(client, _Node(node_id=message.metadata.src_node_id), [message])


def _identify(found: Any) -> None:
    _Identity.task_id, _Identity.run_id = found.task_id, found.run.run_id
    _Identity.node_id = found.context.node_id


def _finish(client: Any, status: str, details: str) -> None:
    client.PushTaskOutput(_pb.PushTaskOutputRequest(sub_status=status, details=details))


def _pack(first: bytes, second: bytes) -> bytes:
    return len(first).to_bytes(8, "big") + first + second


def _unpack(packed: bytes) -> tuple[Any, Any]:
    end = 8 + int.from_bytes(packed[:8], "big")
    first = _pb.PullTaskInputResponse.FromString(packed[8:end])
    return first, _pb.PullAppMessagesResponse.FromString(packed[end:])
