"""Requests and replies survive Flower, and nothing else gets through."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedrad import flower
from fedrad.errors import ProtocolError
from fedrad.parameters import Parameters, digest
from fedrad.protocol import codec
from fedrad.protocol.messages import Block, Reply, Request, reply_id

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
REQUEST = Request(
    study="s", task_hash="t" * 64, round=2, phase="train", model_digest="m", deadline_s=60.0
)


def arrays() -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)
    return FLOATS.flatmap(lambda dtype: hnp.arrays(dtype, shapes))


def models() -> st.SearchStrategy[Parameters]:
    return st.dictionaries(st.text(min_size=1, max_size=8), arrays(), max_size=4)


def blocks() -> st.SearchStrategy[tuple[Block, ...]]:
    values = st.lists(st.floats(), min_size=1, max_size=5).map(np.array)
    one = st.builds(
        Block,
        name=st.text(max_size=5),
        values=values,
        sigma=st.floats(0, 9),
        sensitivity=st.floats(0, 9),
    )
    return st.lists(one, max_size=4).map(tuple)


def asked(request: Request, model: Parameters) -> Message:
    flower.begin_run(1)
    content = codec.encode_request(request, codec.encode_arrays(model))
    message = Message(content, 1001, request.phase, group_id=str(request.round))
    return flower.message_from_bytes(flower.message_to_bytes(message))


def answered(reply: Reply) -> Message:
    message = codec.encode_reply(reply, asked(REQUEST, {}))
    return flower.message_from_bytes(flower.message_to_bytes(message))


def a_reply(**fields: object) -> Reply:
    base = Reply(
        study="s",
        task_hash="t" * 64,
        round=2,
        phase="train",
        model_digest="m",
        reply_id=reply_id(REQUEST, "north"),
        outcome="done",
    )
    return replace(base, **fields)


@settings(max_examples=40, deadline=None)
@given(models())
def test_a_model_survives_with_names_order_shapes_and_dtypes(model: Parameters) -> None:
    request, got = codec.decode_request(asked(REQUEST, model))
    assert request == REQUEST
    assert list(got) == list(model)
    assert digest(got) == digest(model)


@settings(max_examples=40, deadline=None)
@given(models(), blocks(), st.integers(0, 99))
def test_a_reply_survives_with_its_update_blocks_and_events(
    update: Parameters, sums: tuple[Block, ...], steps: int
) -> None:
    events = ({"seq": 3, "sigma": 1.5, "kind": "commit"},)
    reply = a_reply(update=update, blocks=sums, steps=steps, events=events)
    got = codec.decode_reply(answered(reply))
    assert digest(got.update) == digest(update)
    assert (got.steps, got.events) == (steps, events)
    assert [(b.name, b.sigma, b.sensitivity) for b in got.blocks] == [
        (b.name, b.sigma, b.sensitivity) for b in sums
    ]
    for mine, theirs in zip(sums, got.blocks, strict=True):
        np.testing.assert_array_equal(mine.values, theirs.values)


def test_every_reply_has_the_same_metric_keys_whatever_its_outcome() -> None:
    """Flower's own strategies fail a whole run when they differ."""
    done = answered(a_reply(steps=3))
    refused = answered(a_reply(outcome="refused", reason_code="budget"))
    assert set(done.content["metrics"]) == set(refused.content["metrics"]) == {"steps"}


def test_a_pickled_tensor_is_refused_and_not_opened() -> None:
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    bomb = Array(dtype="object", shape=(1,), stype="numpy.ndarray", data=file.getvalue())
    with pytest.raises(ProtocolError, match="tensor 'w' is not a plain array"):
        codec.decode_arrays(ArrayRecord({"w": bomb}))
    bare = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=pickle.dumps([1.0]))
    with pytest.raises(ProtocolError, match="tensor 'w' is a pickle, which fedrad never opens"):
        codec.decode_arrays(ArrayRecord({"w": bare}))


def test_a_tensor_that_claims_more_than_it_holds_is_refused_without_allocating() -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    liar = Array(dtype="float32", shape=(3,), stype="numpy.ndarray", data=file.getvalue() + b"1234")
    with pytest.raises(ProtocolError, match="of the size it claims"):
        codec.decode_arrays(ArrayRecord({"w": liar}))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("outcome", "excellent", "outcome must be one of"),
        ("round", "2", "round must be a whole number"),
        ("round", True, "round must be a whole number"),
        ("study", 3, "study must be text"),
        ("study", "s" * 201, "study is longer than 200 characters"),
        ("outcome", "x" * 10_000, "^outcome is longer than 200 characters$"),
        ("events", "{", "events is not JSON"),
        ("events", "[" * 100_000, "events is not JSON"),
        ("events", "[1]", "events must be a list of ledger lines"),
    ],
)
def test_a_malformed_reply_says_what_is_wrong(key: str, value: object, problem: str) -> None:
    message = answered(a_reply())
    message.content["fedrad"][key] = value
    with pytest.raises(ProtocolError, match=problem):
        codec.decode_reply(message)


@pytest.mark.parametrize("name", ["arrays", "metrics", "fedrad"])
def test_a_missing_record_is_named(name: str) -> None:
    message = answered(a_reply())
    kept = {key: record for key, record in message.content.items() if key != name}
    message.content = RecordDict(kept)
    with pytest.raises(ProtocolError, match=f"'{name}'"):
        codec.decode_reply(message)


def test_blocks_whose_lengths_do_not_fit_their_values_are_refused() -> None:
    block = Block(name="n", values=np.array([1.0, 2.0]), sigma=0.0, sensitivity=1.0)
    message = answered(a_reply(blocks=(block,)))
    message.content["blocks"]["lengths"] = [3]
    with pytest.raises(ProtocolError, match="do not fit each other"):
        codec.decode_reply(message)


def test_the_counted_size_of_a_reply_is_close_to_its_bytes() -> None:
    message = answered(a_reply(update={"w": np.ones(10_000, np.float32)}))
    size = codec.content_bytes(message)
    assert 40_000 < size <= len(flower.message_to_bytes(message))
