"""One digest for a message at both ends, of what it says and not of how it was packed.

Tensors enter by the digests that messages carry and receivers check (``model_digest``,
``update_digest``), so that a record of a message costs no second pass over its model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from fedrad.protocol.messages import Block, Reply, Request


def request_digest(request: Request) -> str:
    """Return the SHA-256 of what a request says, 64 hexadecimal digits."""
    return _digest("request", dataclasses.asdict(request))


def reply_digest(reply: Reply) -> str:
    """Return the SHA-256 of what a reply says, 64 hexadecimal digits."""
    table = {field.name: getattr(reply, field.name) for field in dataclasses.fields(reply)}
    del table["update"]
    table["blocks"] = [_block(block) for block in reply.blocks]
    return _digest("reply", table)


def _block(block: Block) -> list[Any]:
    values = np.ascontiguousarray(block.values, dtype="<f8").tobytes().hex()
    return [block.name, values, block.sigma, block.sensitivity]


def _digest(kind: str, table: dict[str, Any]) -> str:
    text = json.dumps([kind, table], sort_keys=True, separators=(",", ":"))  # NaN too: bytes are
    return hashlib.sha256(text.encode("ascii")).hexdigest()  # hashed here, never read again
