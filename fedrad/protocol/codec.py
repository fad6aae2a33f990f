"""Requests and replies as Flower records and back.

A message holds one ArrayRecord ``arrays``, one MetricRecord ``metrics`` with the same keys
from every site, and ConfigRecords: ``fedrad`` for what identifies it, ``blocks`` for the
sums of an evaluation. Decoding allocates nothing that the bytes do not hold, never
unpickles, and raises ``ProtocolError`` only. Whether a decoded message is acceptable is
``checks``'s business.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.lib import format as npy

from fedrad import flower
from fedrad.durable import canonical_json
from fedrad.errors import ProtocolError
from fedrad.parameters import Parameters
from fedrad.protocol.messages import Block, Outcome, Phase, Reason, Reply, Request

_TEXT = ("study", "task_hash", "phase", "model_digest")
_REPLY_TEXT = (
    *_TEXT,
    "reply_id",
    "outcome",
    "reason_code",
    "update_digest",
    "ledger_head",
    "fedrad_version",
)
_LONGEST = 200  # characters: names and digests, which both ends write into their records
_PICKLE = b"\x80"  # the first byte of protocol 2 and later
_LONGEST_HEADER = 1 << 16  # bytes of a .npy file before its values; ours have 128
_CHOICES = {
    "phase": get_args(Phase),
    "outcome": get_args(Outcome),
    "reason_code": get_args(Reason),
}


def encode_arrays(parameters: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Return the tensors as one record: names, order, shapes and dtypes kept."""
    return ArrayRecord({name: Array(np.asarray(t)) for name, t in parameters.items()})


def decode_arrays(record: ArrayRecord) -> Parameters:
    """Return the tensors of a record as read-only arrays over its bytes.

    Raises:
        ProtocolError: A tensor is not a plain numpy array of the size it claims.
    """
    return {str(name): _tensor(str(name), array) for name, array in record.items()}


def encode_request(request: Request, arrays: ArrayRecord) -> RecordDict:
    """Return the content of one request; ``arrays`` may be shared between requests."""
    config = {field.name: getattr(request, field.name) for field in fields(request)}
    return RecordDict({"arrays": arrays, "metrics": MetricRecord(), "fedrad": ConfigRecord(config)})


def decode_request(message: Message) -> tuple[Request, Parameters]:
    """Return the request in ``message`` and the model that came with it.

    Raises:
        ProtocolError: A record or key is missing or of the wrong kind.
    """
    content = _content(message)
    config = _record(content, "fedrad", ConfigRecord)
    request = Request(
        schema=_whole(config, "schema"),
        round=_whole(config, "round"),
        deadline_s=_number(config, "deadline_s"),
        ledger_head=_text(config, "ledger_head"),
        **{name: _text(config, name) for name in _TEXT},  # type: ignore[arg-type]  # _CHOICES
    )
    return request, decode_arrays(_record(content, "arrays", ArrayRecord))


def encode_reply(reply: Reply, message: Message) -> Message:
    """Return the answer to ``message`` that carries ``reply``."""
    return Message(reply_records(reply), reply_to=message)


def reply_records(reply: Reply) -> RecordDict:
    """Return the content of one reply."""
    config: dict[str, Any] = {name: getattr(reply, name) for name in _REPLY_TEXT}
    config |= {"schema": reply.schema, "round": reply.round}
    config["events"] = canonical_json(list(reply.events)).decode("utf-8")
    records = {
        "arrays": encode_arrays(reply.update),
        "metrics": MetricRecord({"steps": reply.steps}),
        "fedrad": ConfigRecord(config),
    }
    if reply.blocks:
        records["blocks"] = _encode_blocks(reply.blocks)
    return RecordDict(records)


def decode_reply(message: Message) -> Reply:
    """Return the reply in ``message``.

    Raises:
        ProtocolError: A record or key is missing or of the wrong kind, or the message
            carries an error instead of content.
    """
    content = _content(message)
    config = _record(content, "fedrad", ConfigRecord)
    metrics = _record(content, "metrics", MetricRecord)
    blocks = content.get("blocks")
    return Reply(
        schema=_whole(config, "schema"),
        round=_whole(config, "round"),
        update=decode_arrays(_record(content, "arrays", ArrayRecord)),
        steps=_whole(metrics, "steps"),
        events=_events(_text(config, "events")),
        blocks=_decode_blocks(blocks) if isinstance(blocks, ConfigRecord) else (),
        **{name: _text(config, name) for name in _REPLY_TEXT},  # type: ignore[arg-type]
    )


def content_bytes(message: Message) -> int:
    """Return the size of what ``message`` carries, in bytes; 0 for an error."""
    return records_bytes(message.content) if message.has_content() else 0


def records_bytes(content: RecordDict) -> int:
    """Return the size of a message's content, in bytes."""
    tensors = [r for r in content.values() if isinstance(r, ArrayRecord)]
    rest = {k: r for k, r in content.items() if not isinstance(r, ArrayRecord)}
    size = sum(len(array.data) for record in tensors for array in record.values())
    return size + flower.records_size(RecordDict(rest))


def _content(message: Message) -> RecordDict:
    if not message.has_content():
        raise ProtocolError("the message carries an error instead of content")
    return message.content


def _record(content: RecordDict, name: str, kind: Any) -> Any:
    record = content.get(name)
    if not isinstance(record, kind):
        raise ProtocolError(f"the message has no {kind.__name__} {name!r}")
    return record


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be text, got {type(value).__name__}")
    if name != "events" and len(value) > _LONGEST:
        raise ProtocolError(f"{name} is longer than {_LONGEST} characters")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ProtocolError(f"{name} must be one of {', '.join(_CHOICES[name])}; got {value!r}")
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtocolError(f"{name} must be a whole number, got {type(value).__name__}")
    return value


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record.get(name)
    if not isinstance(value, float | int) or not math.isfinite(value):
        raise ProtocolError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _events(text: str) -> tuple[dict[str, Any], ...]:
    try:
        events = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("events is not JSON") from None
    if not isinstance(events, list) or not all(isinstance(line, dict) for line in events):
        raise ProtocolError("events must be a list of ledger lines")
    return tuple(events)


def _encode_blocks(blocks: tuple[Block, ...]) -> ConfigRecord:
    return ConfigRecord(
        {
            "names": [block.name for block in blocks],
            "lengths": [len(block.values) for block in blocks],
            "sigmas": [float(block.sigma) for block in blocks],
            "sensitivities": [float(block.sensitivity) for block in blocks],
            "values": [float(value) for block in blocks for value in block.values],
        }
    )


def _decode_blocks(record: ConfigRecord) -> tuple[Block, ...]:
    names = _list(record, "names", str)
    lengths = _list(record, "lengths", int)
    sigmas, bounds = _list(record, "sigmas", float), _list(record, "sensitivities", float)
    values = np.array(_list(record, "values", float), np.float64)
    same = len(names) == len(lengths) == len(sigmas) == len(bounds)
    if not same or min(lengths, default=0) < 0 or sum(lengths) != values.size:
        raise ProtocolError("the blocks' names, lengths and values do not fit each other")
    starts = np.cumsum([0, *lengths])
    return tuple(
        Block(name=name, values=values[a:b], sigma=sigma, sensitivity=bound)
        for name, a, b, sigma, bound in zip(names, starts, starts[1:], sigmas, bounds, strict=False)
    )


def _list(record: ConfigRecord, name: str, kind: type) -> list[Any]:
    value = record.get(name)
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ProtocolError(f"blocks.{name} must be a list of {kind.__name__}")
    return value


def _tensor(name: str, array: Array) -> npt.NDArray[Any]:
    """Decode one tensor from its ``.npy`` bytes without copying or trusting the header."""
    whole = memoryview(array.data)
    if whole[:1] == _PICKLE:
        raise ProtocolError(f"tensor {name!r} is a pickle, which fedrad never opens")
    try:
        file = io.BytesIO(whole[:_LONGEST_HEADER])
        shape, fortran, dtype = _npy_header(file)
        data = whole[file.tell() :]
        if array.stype != "numpy.ndarray" or dtype.hasobject or fortran:
            raise ValueError
        return np.frombuffer(data, dtype).reshape(shape)
    except (ValueError, TypeError, OverflowError, EOFError):
        raise ProtocolError(f"tensor {name!r} is not a plain array of the size it claims") from None


def _npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError
