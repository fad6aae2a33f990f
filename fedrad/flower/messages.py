"""Messages outside a run of Flower's own: their identity, their bytes, their size.

What every engine needs; the parts of a deployment have modules of their own beside it.
"""

from __future__ import annotations

import logging
import os
from types import MappingProxyType
from typing import Any, cast

from flwr.app import Message, RecordDict

from fedrad.errors import ProtocolError
from fedrad.flower.lookup import private

OFFLINE = MappingProxyType(
    {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)


_TaskIdentity = private("flwr.supercore.task_identity", "TaskIdentity")
_to_proto = private("flwr.common.serde", "message_to_proto")
_from_proto = private("flwr.common.serde", "message_from_proto")
_records_to_proto = private("flwr.common.serde", "recorddict_to_proto")
_ProtoMessage = private("flwr.proto.message_pb2", "Message")
_DecodeError = private("google.protobuf.message", "DecodeError")
_NodeInfo = private("flwr.proto.node_pb2", "NodeInfo")
_Run = private("flwr.supercore.run", "Run")
_update_console_handler = private("flwr.supercore.logger", "update_console_handler")
_telemetry = private("flwr.supercore", "telemetry")

AGGREGATOR_NODE = 1  # the id that Flower gives its own side of every message
# flwr.common.constant.ErrorCode; a site refuses with Flower's word for a bundle that is not valid
APP_RAISED, NODE_UNAVAILABLE, REFUSED, APP_CRASHED = 2, 5, 7, 8


def quiet() -> None:
    """Keep Flower off the network and off the terminal.

    Called by a program's edge before anything is run: no telemetry, no update check, no
    installation at run time, nothing below an error on the console. Child processes
    inherit it through the environment.
    """
    os.environ.update(OFFLINE)
    _telemetry.FLWR_TELEMETRY_ENABLED = "0"  # read from the environment at its import
    _telemetry.state["source"] = "unavailable"  # else it writes a file into the home folder
    _update_console_handler(level=logging.ERROR)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request


def begin_run(run_id: int) -> None:
    """Give this process the identity without which no ``Message`` can be made."""
    _TaskIdentity.run_id = run_id
    _TaskIdentity.node_id = AGGREGATOR_NODE
    _TaskIdentity.task_id = 1


def run_of(run_id: int) -> Any:
    """Return Flower's description of a run that has an id and nothing else."""
    return _Run.create_empty(run_id=run_id)


def node_info(node_id: int, name: str) -> Any:
    """Return what a grid tells about one node."""
    return _NodeInfo(node_id=node_id, name=name, status="online")


def stamp_message(message: Message, message_id: str) -> None:
    """Give ``message`` its id, as a grid does when it takes the message in."""
    message.metadata.__dict__["_message_id"] = message_id


def message_to_bytes(message: Message) -> bytes:
    """Return the whole message as bytes: metadata, every record, every array.

    Flower's wire splits the same content into hashed chunks; nothing is in the chunks that
    is not in these bytes. Protocol buffers, no pickle.
    """
    return cast("bytes", _to_proto(message).SerializeToString(deterministic=True))


def records_size(records: RecordDict) -> int:
    """Return the size of ``records`` on the wire, in bytes."""
    return int(_records_to_proto(records).ByteSize())


def message_from_bytes(content: bytes) -> Message:
    """Read what ``message_to_bytes`` returned.

    Raises:
        ProtocolError: The bytes are not a message.
    """
    try:
        return _from_proto(_ProtoMessage.FromString(content))
    except (_DecodeError, ValueError, TypeError, KeyError):
        raise ProtocolError("not a Flower message: the bytes do not parse") from None
