"""Hand messages to the other end of a Runtime API, one object at a time.

Flower's own way puts the bytes of every object of a message into a queue before the first
is sent: one more model in memory. The other end is on this machine, so nothing is gained by
sending several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flwr.app import Message

from fedrad.flower.lookup import private

_pb = private("flwr.proto", "runtime_pb2")
_push_fn = private(
    "flwr.supercore.inflatable.inflatable_protobuf_utils", "make_push_object_fn_protobuf"
)
_tree_of = private("flwr.supercore.inflatable.inflatable_object", "get_object_tree")
_objects_of = private("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects")
_ids_kept = private("flwr.supercore.inflatable.inflatable_object", "no_object_id_recompute")
_to_proto = private("flwr.common.serde", "message_to_proto")
_emptied = private("flwr.app.message", "remove_content_from_message")


def push(client: Any, node: Any, messages: Sequence[Message]) -> list[str]:
    """Push messages of one run: what they are, then the objects that are not there yet.

    Args:
        client: Of the Runtime API.
        node: Who pushes, as Flower describes it.
        messages: At least one; each gets its id.

    Returns:
        Their ids in order; empty where a message was not taken.

    Raises:
        httpx.HTTPError: Nobody answers, or the messages are refused.
    """
    with _ids_kept():
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
        request = _pb.PushAppMessagesRequest(
            messages_list=[_to_proto(_emptied(message)) for message in messages],
            message_object_trees=[_tree_of(message) for message in messages],
        )
        answer = client.PushMessages(request)
        run_id, wanted = messages[0].metadata.run_id, set(answer.objects_to_push)
        one = _push_fn(client.PushObject, node, run_id=run_id, session_id=answer.session_id)
        for message in messages:
            for key, part in _objects_of(message).items():
                if key in wanted:
                    wanted.discard(key)
                    one(key, part.deflate())
    return list(answer.message_ids)
