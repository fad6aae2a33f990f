"""The contract with Flower's private names: what a new Flower would break."""

from __future__ import annotations

import os

import flwr
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.supercore import telemetry

from fedrad import flower
from fedrad.errors import ProtocolError, RunError
from fedrad.flower import lookup


def a_message() -> Message:
    flower.begin_run(7)
    tensor = Array(np.arange(6, dtype=np.float16).reshape(2, 3))
    records = {"arrays": ArrayRecord({"w": tensor}), "fedrad": ConfigRecord({"word": "é"})}
    return Message(RecordDict(records), 1001, "train", group_id="3")


def test_the_flower_installed_is_the_one_that_the_private_names_belong_to() -> None:
    assert importlib_version().startswith(flower.FLOWER_VERSION + ".")


def importlib_version() -> str:
    from importlib.metadata import version

    return version(flwr.__name__)


def test_a_missing_private_name_says_which_flower_to_install() -> None:
    with pytest.raises(RunError, match=r"TaskIdentities is missing.*flwr>=1\.41"):
        lookup.private("flwr.supercore.task_identity", "TaskIdentities")


def test_a_message_survives_bytes_with_its_records_and_metadata() -> None:
    message = a_message()
    flower.stamp_message(message, "an-id")
    again = flower.message_from_bytes(flower.message_to_bytes(message))
    assert again.metadata.message_id == "an-id"
    assert (again.metadata.group_id, again.metadata.dst_node_id) == ("3", 1001)
    assert again.content["fedrad"]["word"] == "é"
    got = again.content["arrays"]["w"].numpy()
    assert got.dtype == np.float16
    assert (got == np.arange(6).reshape(2, 3)).all()


def test_the_bytes_hold_the_content_itself_and_not_its_digests() -> None:
    tensor = np.frombuffer(b"PLANTED-IDENTIFIER-42!!!", np.float64)
    flower.begin_run(7)
    record = ArrayRecord({"w": Array(tensor)})
    message = Message(RecordDict({"arrays": record}), 1001, "train")
    assert b"PLANTED-IDENTIFIER-42" in flower.message_to_bytes(message)


def test_an_error_reply_survives_bytes() -> None:
    message = a_message()
    flower.stamp_message(message, "asked")
    reply = Message(Error(code=flower.APP_RAISED, reason="ValueError"), reply_to=message)
    again = flower.message_from_bytes(flower.message_to_bytes(reply))
    assert again.has_error()
    assert again.error.code == flower.APP_RAISED
    assert again.metadata.reply_to_message_id == "asked"


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"not a message at all"])
def test_bytes_that_are_no_message_are_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="do not parse"):
        flower.message_from_bytes(content)


def test_a_quiet_program_asks_nothing_of_flower_ai(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is opened, even though telemetry was read as on at import."""
    monkeypatch.setattr(telemetry, "FLWR_TELEMETRY_ENABLED", "1")
    for name in flower.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    flower.quiet()
    assert telemetry.event(telemetry.EventType.PING).result(timeout=10) == "disabled"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


def test_the_size_of_records_is_that_of_their_bytes() -> None:
    records = RecordDict({"fedrad": ConfigRecord({"word": "x" * 1000, "none": ""})})
    assert 1000 < flower.records_size(records) < 1100
