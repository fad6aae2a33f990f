"""A message is pulled as it was pushed, and cannot be larger than what its pieces are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from fedrad.flower import pulling
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


def two_tensors(sizes: Sequence[int] = (8, 9)) -> ArrayRecord:
    return encode_arrays({f"w{size}": np.ones(size) for size in sizes})
