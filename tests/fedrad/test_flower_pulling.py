"""A message is pulled as it was pushed, and cannot be larger than what its pieces are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedrad.flower import begin_run, pulling
from fedrad.flower.lookup import private
from fedrad.protocol.codec import decode_arrays, encode_arrays

_OBJECT = "flwr.supercore.inflatable.inflatable_object"
tree_of = private(_OBJECT, "get_object_tree")
objects_of = private(_OBJECT, "get_all_nested_objects")


def contents_of(content: RecordDict) -> dict[str, bytes]:
    return {key: part.deflate() for key, part in objects_of(content).items()}


def inflated(content: RecordDict, kept: dict[str, bytes]) -> RecordDict:
    """Read a content as it is read from the wire; one level above it is the message's own."""
    tree = SimpleNamespace(object_id="", children=[tree_of(content)])
    names = [one.object_id for one in pulling._small(tree)][1:]
    small = {name: kept[name] for name in names}
    return pulling._inflated(tree.children[0], small, pulling._Pieces(kept.__getitem__))


def test_tensors_names_and_shared_ones_come_out_as_they_went_in() -> None:
    model = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, np.float32), "c": np.ones(4)}
    record = encode_arrays(model)
    record["d"] = record["a"]
    content = RecordDict({"arrays": record, "said": ConfigRecord({"round": 3})})
    again = inflated(content, contents_of(content))
    found = decode_arrays(again["arrays"])
    assert list(found) == ["a", "b", "c", "d"]
    for name, tensor in {**model, "d": model["a"]}.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert again["said"]["round"] == 3
    assert again["arrays"]["d"].data is again["arrays"]["a"].data  # pulled once


@pytest.mark.parametrize(("most", "value"), [("_MOST_BYTES", 100), ("_MOST_PIECES", 1)])
def test_a_message_that_names_too_much_is_refused(
    monkeypatch: pytest.MonkeyPatch, most: str, value: int
) -> None:
    monkeypatch.setattr(pulling, most, value)
    content = RecordDict({"arrays": two_tensors()})
    with pytest.raises(ValueError, match="a message"):
        inflated(content, contents_of(content))


BODIES = ("[]", "7", '{"w8": 1}', "[" * 5000, '{"w8": "none"}', "\xff")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["ArrayRecord", "Array"])
def test_objects_that_make_no_message_are_a_value_error_and_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch, kind: str, body: str
) -> None:
    """A hostile hospital writes them; anything else would end the coordinator's run."""
    confirmed = pulled_with(monkeypatch, kind, body.encode("latin-1"), ValueError)
    assert confirmed == [1]


def test_a_piece_that_is_named_and_not_there_is_no_other_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = b'{"dtype":"float64","shape":[8],"stype":"numpy.ndarray","arraychunk_ids":[99]}'
    assert pulled_with(monkeypatch, "Array", told, ValueError) == [1]


def test_a_connection_that_breaks_leaves_the_message_to_be_pulled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert pulled_with(monkeypatch, "ArrayChunk", None, ConnectionError) == []


def pulled_with(
    monkeypatch: pytest.MonkeyPatch, kind: str, body: bytes | None, error: type[Exception]
) -> list[int]:
    """Pull a content of which every object of a kind is another; return who was told it came."""
    content, confirmed = RecordDict({"arrays": two_tensors()}), []
    kept = contents_of(content)

    def fetch(key: str) -> bytes:
        head = kept[key].partition(b"\0")[0]
        if not head.startswith(kind.encode() + b" "):
            return kept[key]
        if body is None:
            raise ConnectionError
        return head.rsplit(b" ", 1)[0] + b" %d\0" % len(body) + body

    monkeypatch.setattr(pulling, "_pull_fn", lambda *_: fetch)
    monkeypatch.setattr(pulling, "_confirm_fn", lambda *_: lambda _: confirmed.append(1))
    begin_run(1)
    message = Message(content, 1, "train")
    kept |= {key: part.deflate() for key, part in objects_of(message).items()}
    client = SimpleNamespace(PullObject=None, ConfirmMessageReceived=None)
    with pytest.raises(error):
        pulling.pull(client, None, 1, tree_of(message))
    return confirmed


def two_tensors(sizes: Sequence[int] = (8, 9)) -> ArrayRecord:
    return encode_arrays({f"w{size}": np.ones(size) for size in sizes})
