"""One object on the wire where Flower would send dozens.

Flower's wire asks for every record and every tensor of a message by itself, each with a
request of its own, and its server needs some ten milliseconds for each. Here all tensors of
a record travel as one array (in Flower's chunks, shared between the sites), and everything
else of a message as one more record. A small message is one record altogether.

Packing is a matter of the transport: apps on both ends see what they would see without it.
Nothing here is pickled, and nothing is allocated that the bytes do not hold.
"""

from __future__ import annotations

import json
from typing import Any, cast

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedrad.flower.lookup import private

_to_proto = private("flwr.common.serde", "recorddict_to_proto")
_from_proto = private("flwr.common.serde", "recorddict_from_proto")
_Proto = private("flwr.proto.recorddict_pb2", "RecordDict")
_DecodeError = private("google.protobuf.message", "DecodeError")

_NAME = "fedrad-packed"
_SMALL = 256 * 1024  # bytes of tensors that travel with the rest
_STYPE = "fedrad.packed"


class Packer:
    """Packs the messages of one push; a record of tensors that they share is packed once."""

    def __init__(self) -> None:
        self._packed: dict[int, tuple[ArrayRecord, ArrayRecord, str]] = {}

    def pack(self, content: RecordDict) -> RecordDict:
        """Return the same content in few objects."""
        large = {name: record for name, record in content.items() if _is_large(record)}
        rest = RecordDict({name: record for name, record in content.items() if name not in large})
        index: dict[str, str] = {}
        packed = RecordDict()
        for name, record in large.items():
            _, packed[name], index[name] = self._one(record)
        body = _to_proto(rest).SerializeToString(deterministic=True)
        packed[_NAME] = ConfigRecord({"rest": body, "index": json.dumps(index, sort_keys=True)})
        return packed

    def _one(self, record: ArrayRecord) -> tuple[ArrayRecord, ArrayRecord, str]:
        if id(record) not in self._packed:
            lines = [[n, a.dtype, list(a.shape), a.stype, len(a.data)] for n, a in record.items()]
            entry = (record, _joined(record), json.dumps(lines))
            self._packed[id(record)] = entry  # keeps the record, so that its id stays its own
        return self._packed[id(record)]


def _joined(record: ArrayRecord) -> ArrayRecord:
    """Return a record's bytes as one array; the record's own tensors become views of it."""
    size = sum(len(array.data) for array in record.values())
    data, start = bytearray(size), 0
    whole = memoryview(data).toreadonly()
    for array in record.values():
        end = start + len(array.data)
        data[start:end] = array.data
        array.data, start = cast("bytes", whole[start:end]), end
    joined = ArrayRecord()
    joined["all"] = Array(dtype="uint8", shape=(size,), stype=_STYPE, data=b"")
    joined["all"].data = cast("bytes", whole)
    return joined


def unpack(content: RecordDict) -> RecordDict:
    """Return what was packed; content that is not packed, or badly, is returned as it came."""
    head = content.get(_NAME)
    if not isinstance(head, ConfigRecord):
        return content
    try:
        body, index = cast("bytes", head["rest"]), json.loads(cast("str", head["index"]))
        found = _from_proto(_Proto.FromString(body))
        for name, lines in index.items():
            found[name] = _unpacked(content[name], json.loads(lines))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, _DecodeError):
        return content
    return cast("RecordDict", found)


def _unpacked(packed: Any, lines: list[list[Any]]) -> ArrayRecord:
    """Return the tensors of a packed record, as views of its bytes."""
    data, start, record = memoryview(packed.pop("all").data), 0, ArrayRecord()
    for name, dtype, shape, stype, length in lines:
        if not 0 <= length <= len(data) - start:
            raise ValueError(length)
        array = Array(dtype=dtype, shape=tuple(shape), stype=stype, data=b"")
        array.data = cast("bytes", data[start : start + length])
        record[name] = array
        start += length
    return record


def _is_large(record: Any) -> bool:
    if not isinstance(record, ArrayRecord):
        return False
    return sum(len(array.data) for array in record.values()) > _SMALL
