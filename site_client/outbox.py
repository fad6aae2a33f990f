"""Keep every answer until the aggregator moves on, so that a lost one is sent again.

An answer is synced to ``state/replies/`` before its charge is settled and before it leaves. The
same question finds it there: nothing is trained twice and no budget is spent twice. Names are
reply ids, which are digests.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedrad import durable
from fedrad.errors import DamagedStateError
from fedrad.parameters import digest, read_safetensors, write_safetensors
from fedrad.protocol.messages import Block, Reply, Request

OF_ROUNDS = ("train", "evaluate", "query")  # phases whose answers a later round acknowledges


def keep(home: Path, reply: Reply) -> None:
    """Write ``reply`` durably; its JSON comes last and makes it valid."""
    folder = _folder(home)
    if reply.update:
        write_safetensors(folder / f"{reply.reply_id}.safetensors", reply.update)
    table = {field.name: getattr(reply, field.name) for field in dataclasses.fields(reply)}
    table |= {"update": bool(reply.update), "blocks": [_block_table(b) for b in reply.blocks]}
    durable.write_json(folder / f"{reply.reply_id}.json", table)


def kept(home: Path, reply_id: str) -> Reply | None:
    """Return the answer with this id, or ``None`` if there is none.

    Raises:
        DamagedStateError: Its tensors are missing, unreadable or not those that were kept.
    """
    path = _folder(home) / f"{reply_id}.json"
    if not path.exists():
        return None
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    has_update = table.pop("update")
    table["update"] = read_safetensors(path.with_suffix(".safetensors")) if has_update else {}
    if has_update and digest(table["update"]) != table["update_digest"]:
        raise DamagedStateError(f"the kept answer {reply_id} differs from its digest")
    table["blocks"] = tuple(_block(entry) for entry in table["blocks"])
    table["events"] = tuple(table["events"])
    return Reply(**table)


def moved_on(home: Path, request: Request) -> bool:
    """Whether a later round of the study was answered, so that this answer may be forgotten.

    Answers about windows have numbers of their own; they are small, stay, and nothing
    acknowledges them.
    """
    return request.phase in OF_ROUNDS and any(
        study == request.study and number > request.round for study, number, _ in _kept(home)
    )


def forget_before(home: Path, study: str, round_number: int) -> None:
    """Delete the answers of earlier rounds of ``study``: a later question acknowledges them."""
    for own, number, path in _kept(home):
        if own == study and number < round_number:
            path.unlink()
            path.with_suffix(".safetensors").unlink(missing_ok=True)


def _kept(home: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield study, round and file of every answer about a round."""
    for path in tuple(_folder(home).glob("*.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["phase"] in OF_ROUNDS:
            yield str(table["study"]), int(table["round"]), path


def _folder(home: Path) -> Path:
    return home / "state" / "replies"


def _block_table(block: Block) -> dict[str, Any]:
    return {
        "name": block.name,
        "values": [value if np.isfinite(value) else None for value in block.values.tolist()],
        "sigma": block.sigma,
        "sensitivity": block.sensitivity,
    }


def _block(table: dict[str, Any]) -> Block:
    return Block(**{**table, "values": np.asarray(table["values"], dtype=np.float64)})
