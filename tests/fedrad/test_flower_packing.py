"""What travels packed comes out as it went in, and badly packed content harms nobody."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.config import get_fab_config
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedrad.flower.bundle import STUDY_KEY, bundle, bundle_digest
from fedrad.flower.packing import Packer, unpack
from fedrad.protocol.codec import decode_arrays, encode_arrays

DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8])
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(max_dims=3, max_side=4))),
    max_size=4,
)


def content_of(arrays: ArrayRecord, word: str = "é") -> RecordDict:
    config = ConfigRecord({"word": word, "bytes": b"\x00\xff", "list": [1.5, 2.5]})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"steps": 3}), "fedrad": config})


@given(TENSORS, st.booleans())
def test_packed_content_comes_out_as_it_went_in(
    tensors: dict[str, np.ndarray], padded: bool
) -> None:
    """Names, order, shapes, dtypes and every bit, small messages and large ones."""
    if padded:
        tensors = tensors | {"padding": np.zeros(70_000, np.float32)}
    again = unpack(Packer().pack(content_of(encode_arrays(tensors))))
    found = decode_arrays(again["arrays"])
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].tobytes() == tensor.tobytes()
    assert dict(again["fedrad"]) == dict(content_of(ArrayRecord())["fedrad"])
    assert dict(again["metrics"]) == {"steps": 3}


def test_a_small_message_is_one_record_and_a_large_one_is_two() -> None:
    small = encode_arrays({f"w{i}": np.zeros(10, np.float32) for i in range(30)})
    large = encode_arrays({f"w{i}": np.zeros(10_000, np.float32) for i in range(30)})
    assert len(Packer().pack(content_of(small))) == 1
    packed = Packer().pack(content_of(large))
    assert [len(record) for record in packed.values()] == [1, 2]


def test_sites_share_the_packed_model() -> None:
    """Otherwise every site's copy would be pushed and kept by itself."""
    model = encode_arrays({"w": np.zeros(100_000, np.float32)})
    packer = Packer()
    first, second = (packer.pack(content_of(model, word)) for word in ("north", "south"))
    assert first["arrays"] is second["arrays"]


def test_content_that_nobody_packed_is_returned_as_it_came() -> None:
    content = content_of(encode_arrays({"w": np.zeros(3)}))
    assert unpack(content) is content


def broken(**changes: object) -> RecordDict:
    packed = Packer().pack(content_of(encode_arrays({"w": np.zeros(100_000, np.float32)})))
    packed["fedrad-packed"] = ConfigRecord({**packed["fedrad-packed"], **changes})
    return packed


@pytest.mark.parametrize(
    "changes",
    [
        {"rest": b"\xff\xff"},
        {"rest": 3},
        {"index": "no json"},
        {"index": "[]"},
        {"index": "{}" * 9},
        {"index": json.dumps({"arrays": json.dumps([["w", "uint8", [1], "x", 10**12]])})},
        {"index": json.dumps({"arrays": json.dumps([["w", "uint8", [1], "x", -5]])})},
        {"index": json.dumps({"absent": "[]"})},
        {"index": "[" * 100_000},
    ],
)
def test_badly_packed_content_is_returned_as_it_came(changes: dict[str, object]) -> None:
    packed = broken(**changes)
    assert unpack(packed) is packed


def test_a_record_without_the_packed_array_is_returned_as_it_came() -> None:
    packed = broken()
    packed["arrays"] = ArrayRecord({"other": Array(np.zeros(3))})
    assert unpack(packed) is packed


def test_the_bundle_is_the_same_bytes_on_every_machine() -> None:
    """A site knows it by its digest: it may never change for one wire protocol."""
    digest = "496d54a819570f493085108497bf3dc09ff17e2ad928179cdbf6d8420df51c15"
    assert bundle_digest(1) == digest != bundle_digest(2)


def test_flower_takes_the_bundle_and_finds_no_code_in_it() -> None:
    config = get_fab_config(bundle(1))
    assert config["tool"]["flwr"]["app"]["config"] == {STUDY_KEY: ""}
    assert b".py" not in bundle(1).replace(b"pyproject", b"")
