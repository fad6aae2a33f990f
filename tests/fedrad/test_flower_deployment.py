"""The contract with Flower's private names of a deployment, on Flower's own state and stores."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.nodestate import NodeStateFactory

import fedrad.flower
from fedrad import flower, signatures
from fedrad.errors import RunError
from fedrad.flower import node_loop
from fedrad.flower.bundle import bundle, bundle_digest
from fedrad.flower.keys import bytes_of_key, header_of_key
from fedrad.flower.link import MOST_OBJECTS, push_own_messages
from fedrad.flower.lookup import private
from fedrad.flower.waits import LONGEST_S, SHORTEST_S, Patience

MODULES = [module.name for module in pkgutil.iter_modules(fedrad.flower.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_private_name_is_there(name: str) -> None:
    """Each is looked up when its module is imported."""
    importlib.import_module(f"fedrad.flower.{name}")


def test_a_key_is_what_flower_registers_and_what_a_node_sends() -> None:
    line = signatures.public_text(signatures.new_key())
    assert bytes_of_key(line).startswith(b"-----BEGIN PUBLIC KEY-----")
    assert len(header_of_key(line)) > 200
    for wrong in ("", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp384 AAAA", "é"):
        with pytest.raises(RunError, match="node key must be"):
            bytes_of_key(wrong)


def test_waits_grow_while_nothing_happens_and_start_over() -> None:
    patience = Patience(share=1e9)
    assert patience.wait_s() == LONGEST_S
    still = Patience(share=0.0)
    assert still.wait_s() == SHORTEST_S


class Node:
    """Flower's own state of a node, and a message for it."""

    def __init__(self, run_id: int) -> None:
        stores = ObjectStoreFactory()
        self.state, self.store = NodeStateFactory(stores).state(), stores.store()
        self.state.set_node_id(5)
        self.ask(run_id)

    def ask(self, run_id: int) -> None:
        flower.begin_run(run_id)
        arrays = ArrayRecord({"w": Array(np.zeros(3, np.float32))})
        content = RecordDict({"a": arrays, "c": ConfigRecord({"run": str(run_id)})})
        self.message = Message(content, 5, "train")
        flower.stamp_message(self.message, self.message.object_id)

    def given(self, pull_object: Any) -> dict[str, Any]:
        fab = Fab(bundle_digest(1), bundle(1), {})
        return {
            "state": self.state,
            "object_store": self.store,
            "node_config": {},
            "receive": lambda: (self.message, get_object_tree(self.message)),
            "get_run": flower.run_of,
            "get_fab": lambda *_: fab,
            "pull_object": pull_object,
            "confirm_message_received": lambda *_: None,
            "trusted_entities": None,
        }

    def objects(self, _: int, object_id: str) -> bytes:
        return get_all_nested_objects(self.message)[object_id].deflate()


def ended(*_: Any) -> bytes:
    raise RunNotRunningException


def test_a_message_whose_run_ended_while_it_was_pulled_is_forgotten_with_its_task() -> None:
    """Flower leaves both behind; the next reply would then wait for one message more."""
    node, asked = Node(7), node_loop._Asked(lambda: None, 1 << 20)
    assert asked.pull(**node.given(ended)) is None
    assert len(node.store) == 0
    assert not node.state.get_messages_legacy(is_reply=False)
    statuses = [task.status.status for task in node.state.get_tasks(run_ids=[7])]
    assert statuses == ["finished"]


def test_the_wait_is_for_the_reply_to_the_message_at_hand() -> None:
    """A late reply to another message is pushed and does not end it."""
    node, came, pushed = Node(7), [], []
    asked = node_loop._Asked(lambda: came.append(1), 1 << 20)
    late = Message(node.message.content, reply_to=node.message)
    node.ask(8)
    assert asked.pull(**node.given(node.objects)) == 8
    right = Message(node.message.content, reply_to=node.message)
    waiting = [late, right]

    def push(send: Any, **_: Any) -> None:
        send(waiting.pop(0), None, 0.0)

    node_loop._push_messages, flowers = push, node_loop._push_messages
    try:
        asked.push(send=lambda message, *_: pushed.append(message.metadata.run_id))
    finally:
        node_loop._push_messages = flowers
    assert (came, pushed) == ([1], [7, 8])


def test_a_message_that_is_too_large_is_left_where_it_is_and_answered() -> None:
    """No more of it is fetched than the site takes; the coordinator reads why."""
    node, pushed, fetched = Node(7), [], []

    def pull(run_id: int, object_id: str) -> bytes:
        fetched.append(object_id)
        return node.objects(run_id, object_id)

    whole = sum(len(part.deflate()) for part in get_all_nested_objects(node.message).values())
    asked = node_loop._Asked(lambda: None, whole - 1)
    assert asked.pull(**node.given(pull)) == 7
    assert not node.state.get_messages_legacy(is_reply=False)
    asked.push(
        state=node.state,
        object_store=node.store,
        send=lambda message, tree, _: (pushed.append((message, tree)) or set(), ""),
        push_object=lambda *_: None,
    )
    ((message, _),) = pushed
    assert message.metadata.reply_to_message_id == node.message.metadata.message_id
    assert message.error.code == flower.REFUSED
    assert f"more than {whole - 1} bytes" in message.error.reason
    assert node_loop._Asked(lambda: None, whole).pull(**Node(8).given(node.objects)) is None
    assert len(fetched) <= len(get_all_nested_objects(node.message))


def test_a_reply_in_the_name_of_another_node_is_refused() -> None:
    request = private("flwr.proto.fleet_pb2", "PushMessagesRequest")
    message = private("flwr.proto.message_pb2", "Message")()
    node = private("flwr.proto.node_pb2", "Node")(node_id=5)
    message.metadata.src_node_id = 6
    with pytest.raises(Exception, match="in the name of another node"):
        push_own_messages(request(node=node, messages_list=[message]), state=None)


def test_a_reply_of_more_objects_than_any_model_has_is_refused() -> None:
    """Each object may be as large as the gateway lets through; their number was the node's own."""
    request = private("flwr.proto.fleet_pb2", "PushMessagesRequest")
    tree = private("flwr.proto.message_pb2", "ObjectTree")
    node = private("flwr.proto.node_pb2", "Node")(node_id=5)
    for wide, problem in (
        (MOST_OBJECTS - 2, "list index"),
        (MOST_OBJECTS - 1, "over 1000 objects"),
    ):
        inner = tree(object_id="b", children=[tree(object_id="c") for _ in range(wide)])
        asked = request(node=node, message_object_trees=[tree(object_id="a", children=[inner])])
        with pytest.raises(Exception, match=problem):  # Flower's own: there is no message in it
            push_own_messages(asked, state=None)
