"""Pull a message from the other end of a Runtime API, its tensors once.

Flower's own way has the pieces of a tensor, their sum, and a copy of the sum in memory at the same
time. Here a piece is added to its tensor as it comes, and dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from flwr.app import Array, ArrayRecord, Message

from fedrad.flower.lookup import private

_UTILS = "flwr.supercore.inflatable.inflatable_utils"
_PROTO = "flwr.supercore.inflatable.inflatable_protobuf_utils"
_OBJECT = "flwr.supercore.inflatable.inflatable_object"
_pull_objects = private(_UTILS, "pull_objects")
_kinds = private(_UTILS, "inflatable_class_registry")
_pull_fn = private(_PROTO, "make_pull_object_fn_protobuf")
_confirm_fn = private(_PROTO, "make_confirm_message_received_fn_protobuf")
_head_of = private(_OBJECT, "get_object_head_values_from_object_content")
_DIVIDER = private("flwr.supercore.constant", "HEAD_BODY_DIVIDER")
_MALFORMED = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
_ARRAY_DEPTH = 3  # message, record dict, array record, array, pieces
# Of one message, since a name that stands there again and again could make any size.
_MOST_BYTES, _MOST_PIECES = 1 << 32, 4096

Pull = Callable[[str], bytes]


def pull(client: Any, node: Any, run_id: int, tree: Any) -> Message:
    """Return the message whose objects are named in ``tree``, and confirm that it came.

    Args:
        client: Of the Runtime API.
        node: Who pulls, as Flower describes it.
        run_id: The message's run.
        tree: The ids of the message and of all that it is made of.

    Raises:
        ObjectPullError: An object did not come; the message can be pulled again.
        ValueError: The objects do not make a message.
    """
    fetch = _pull_fn(client.PullObject, node, run_id)
    confirm = _confirm_fn(client.ConfirmMessageReceived, node, run_id)
    contents = _pull_objects([found.object_id for found in _small(tree)], fetch)
    try:
        message = _inflated(tree, contents, _Pieces(fetch))
    except _MALFORMED:
        confirm(tree.object_id)  # it came, and coming again would not mend it
        raise ValueError("the objects do not make a message") from None
    confirm(tree.object_id)
    if not isinstance(message, Message):
        raise ValueError(f"a {type(message).__name__} is no message")
    return message


def _small(tree: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the objects that are no pieces of tensors."""
    yield tree
    if depth < _ARRAY_DEPTH:
        for child in tree.children:
            yield from _small(child, depth + 1)


def _inflated(tree: Any, contents: dict[str, bytes], pieces: _Pieces) -> Any:
    content = contents[tree.object_id]
    name, children, _ = _head_of(content)
    if _kinds[name] is ArrayRecord:
        return _record(content, contents, pieces)
    below = {child.object_id: _inflated(child, contents, pieces) for child in tree.children}
    return _kinds[name].inflate(content, children={key: below[key] for key in children})


def _record(content: bytes, contents: dict[str, bytes], pieces: _Pieces) -> ArrayRecord:
    """Return a record of tensors; Flower would copy what its constructor is given."""
    record, known = ArrayRecord(), dict[str, bytes]()
    for name, key in json.loads(_body(content).tobytes()).items():
        told = json.loads(_body(contents[key]).tobytes())
        if key not in known:
            keys = _head_of(contents[key])[1]
            known[key] = pieces.joined([keys[place] for place in told["arraychunk_ids"]])
        shape = tuple(told["shape"])
        record[name] = Array(dtype=told["dtype"], shape=shape, stype=told["stype"], data=b"")
        record[name].data = known[key]
    return record


class _Pieces:
    """Pulls the pieces of one message's tensors, no more than a message may have."""

    def __init__(self, fetch: Pull) -> None:
        self._fetch, self._bytes, self._count = fetch, 0, 0

    def joined(self, keys: Sequence[str]) -> bytes:
        """Return the bytes of a tensor, as a view that cannot be written to.

        Raises:
            ValueError: The message has more pieces, or more bytes, than any model.
        """
        self._count += len(keys)
        if self._count > _MOST_PIECES:
            raise ValueError(f"a message has more than {_MOST_PIECES} pieces of tensors")
        data = bytearray()
        for key in keys:
            piece = _body(_pull_objects([key], self._fetch)[key])
            self._bytes += len(piece)
            if self._bytes > _MOST_BYTES:
                raise ValueError(f"a message's tensors have more than {_MOST_BYTES} bytes")
            data += piece
        return cast("bytes", memoryview(data).toreadonly())


def _body(content: bytes) -> memoryview:
    return memoryview(content)[content.index(_DIVIDER) + len(_DIVIDER) :]
