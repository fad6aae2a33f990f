"""The coordinator's grid: what it knows of questions, and which it asks again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, RecordDict
from link_state import link_state

from fedrad import flower
from fedrad.flower.grid import PolledGrid, _Question
from fedrad.flower.lookup import private

_handlers = private("flwr.superlink.servicer.runtime", "runtime_handlers")
_tree_of = private("flwr.supercore.inflatable.inflatable_object", "get_object_tree")
_objects_of = private("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects")


@pytest.fixture
def grid() -> PolledGrid:
    """Return a grid with three questions out, of which one was answered; it has no server."""
    grid = object.__new__(PolledGrid)
    grid._kept, grid._here = set(), {"b": ("metadata", "tree")}
    packed = RecordDict()
    grid._out = {key: _Question(SimpleNamespace(), packed, 1.0, 30.0, [key]) for key in ("a", "c")}
    grid._first = {"a": "a", "a again": "a", "b": "b", "c": "c"}
    return grid


def test_whatever_is_not_kept_is_forgotten(grid: PolledGrid) -> None:
    grid._forget()
    assert (grid._out, grid._here, grid._first) == ({}, {}, {})


def test_a_kept_question_may_still_be_answered_and_is_not_asked_again(grid: PolledGrid) -> None:
    grid.keep(["a", "b"])
    grid._forget()
    assert set(grid._out) == {"a"}
    assert set(grid._here) == {"b"}
    assert grid._first == {"a": "a", "a again": "a"}
    assert grid._out["a"].next_s == float("inf")


class Link:
    """Flower's server without its sockets: what it keeps, asked directly; one node."""

    names: ClassVar = {
        "PushMessages": "push_messages",
        "PushObject": "push_object",
        "PullMessages": "pull_messages",
        "PullObject": "pull_object",
        "ConfirmMessageReceived": "confirm_message_received",
        "GetNodes": "get_nodes",
    }

    def __init__(self, database: Path) -> None:
        self.state, self.run, self.node = link_state(database)

    def __getattr__(self, name: str) -> Any:
        task = SimpleNamespace(run_id=self.run)
        return partial(getattr(_handlers, self.names[name]), state=self.state, task=task)

    def answer(self, *, error: int = 0) -> str:
        """Answer the oldest question that the node has not seen; return its id, or nothing."""
        for asked in self.state.get_message_ins(self.node, limit=1):
            content = RecordDict({"a": ArrayRecord({"w": Array(np.ones(3, np.float32))})})
            what = Error(error, "it died") if error else content
            reply = Message(what, reply_to=asked)
            flower.stamp_message(reply, reply.object_id)
            self.state.object_store.preregister(self.run, _tree_of(reply))
            for key, part in _objects_of(reply).items():
                self.state.object_store.put(key, part.deflate())
            assert self.state.store_message_res(reply)
            return str(asked.metadata.message_id)
        return ""


@pytest.fixture
def link(tmp_path: Path) -> Link:
    return Link(tmp_path / "state.db")


@pytest.fixture
def asking(link: Link) -> PolledGrid:
    """Return a grid on that server that never waits."""
    grid = PolledGrid(token="t")  # noqa: S106  # nobody looks at it
    grid._client, grid._run = link, SimpleNamespace(run_id=link.run)
    grid._patience = SimpleNamespace(wait_s=lambda: 0.0, something_happened=lambda: None)
    return grid


def ask(grid: PolledGrid, link: Link) -> list[str]:
    content = RecordDict({"a": ArrayRecord({"w": Array(np.zeros(3, np.float32))})})
    return grid.push_messages([Message(content, link.node, "train", ttl=60.0, group_id="1")])


def test_a_question_whose_reply_was_handed_out_and_never_came_is_asked_again(
    asking: PolledGrid, link: Link
) -> None:
    """The server gave the reply away and died before the coordinator had it."""
    ids = ask(asking, link)
    link.answer()
    request = private("flwr.proto.runtime_pb2", "PullAppMessagesRequest")
    assert len(link.PullMessages(request(message_ids=ids)).messages_list) == 1
    assert asking.pull_messages(ids) == []
    assert link.answer() not in {*ids, ""}
    [reply] = asking.pull_messages(ids)
    assert (reply.has_content(), reply.metadata.reply_to_message_id) == (True, ids[0])


def test_a_question_that_a_worker_died_on_is_asked_once_more_and_not_twice(
    asking: PolledGrid, link: Link
) -> None:
    ids = ask(asking, link)
    link.answer(error=flower.APP_CRASHED)
    assert asking.pull_messages(ids) == []
    link.answer(error=flower.APP_CRASHED)
    [reply] = asking.pull_messages(ids)
    assert (reply.error.code, link.answer()) == (flower.APP_CRASHED, "")


def test_an_error_that_would_come_again_is_taken_as_it_is(asking: PolledGrid, link: Link) -> None:
    ids = ask(asking, link)
    link.answer(error=flower.APP_RAISED)
    [reply] = asking.pull_messages(ids)
    assert (reply.error.code, link.answer()) == (flower.APP_RAISED, "")


def test_nobody_is_asked_again_who_has_gone(asking: PolledGrid, link: Link) -> None:
    ids = ask(asking, link)
    link.answer(error=flower.APP_CRASHED)
    asking.get_nodes = lambda: []
    [reply] = asking.pull_messages(ids)
    assert (reply.error.code, link.answer()) == (flower.APP_CRASHED, "")


def test_a_question_of_a_round_that_was_closed_is_not_asked_again(
    asking: PolledGrid, link: Link
) -> None:
    ids = ask(asking, link)
    asking.keep(ids)
    asking._forget()
    link.answer(error=flower.APP_CRASHED)
    assert [reply.has_error() for reply in asking.pull_messages(ids)] == [True]
