"""A SuperLink whose database is busy, on Flower's own state in a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from link_state import link_state
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from fedrad import flower
from fedrad.flower import busy
from fedrad.flower.lookup import private

_extensions = private("flwr.superlink", "extensions")
_mixin = private("flwr.supercore", "sql_mixin")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what ``wait_for_the_database`` sets, for a tenth of a second of waiting."""
    for place, name in (
        (_mixin, "SQLITE_PRAGMAS"),
        (busy._handlers, "pull_messages"),
        (_extensions, "configure_app"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))
    monkeypatch.setattr(busy, "WAIT_S", 0.1)
    busy.wait_for_the_database()


class Link:
    """A SuperLink's state in a file: a run, a node, a question to it and its reply."""

    def __init__(self, database: Path) -> None:
        self.state, run, node = link_state(database)
        content = RecordDict({"a": ArrayRecord({"w": Array(np.zeros(3, np.float32))})})
        asked = self._named(Message(content, node, "train"))
        assert self.state.store_message_ins(asked)
        reply = self._named(Message(content, reply_to=asked))
        self.state.object_store.preregister(run, get_object_tree(reply))
        assert self.state.store_message_res(reply)
        self.task = SimpleNamespace(run_id=run)
        request = private("flwr.proto.runtime_pb2", "PullAppMessagesRequest")
        self.request = request(message_ids=[asked.metadata.message_id])

    def pull(self) -> Any:
        return busy._handlers.pull_messages(self.request, self.state, self.task)

    @staticmethod
    def _named(message: Message) -> Message:
        flower.stamp_message(message, message.object_id)
        return message


def test_a_reply_that_was_claimed_and_not_taken_out_is_there_again(
    tmp_path: Path, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two the database was locked: the caller asks again and gets it, once."""
    link = Link(tmp_path / "state.db")
    with monkeypatch.context() as patch:
        patch.setattr(link.state.object_store, "get_object_tree", _locked)
        with pytest.raises(OperationalError):
            link.pull()
    assert [message.HasField("error") for message in link.pull().messages_list] == [False]
    assert [message.HasField("error") for message in link.pull().messages_list] == [True]


def _locked(_: str) -> None:
    raise OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))


def test_who_waited_in_vain_for_the_database_is_told_to_ask_again(
    tmp_path: Path, waiting: None, caplog: pytest.LogCaptureFixture
) -> None:
    """503 is what Flower's clients ask again for; its own 500 ends a study's program."""
    link, app = Link(tmp_path / "state.db"), FastAPI()
    _extensions.configure_app(app)
    app.get("/pull")(lambda: len(link.pull().messages_list))
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    with TestClient(app) as client:
        other.execute("BEGIN IMMEDIATE")
        put_off = client.get("/pull")
        other.execute("ROLLBACK")
        assert put_off.status_code == 503
        assert client.get("/pull").json() == 1
    other.close()
    assert "/pull was put off: the database says database is locked" in caplog.text
