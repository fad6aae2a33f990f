"""What left this site: every message with size and digest, and what it said, field by field.

Read from the record that was written as each message left (``correspondence``); older lines have
no fields, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from site_client.dashboard.records import Line, local

MOST = 200
_OTHERS = {
    "shared": "a feasibility record was handed out",
    "adopted": "lost ledger lines were charged again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """One block of sums as it left."""

    name: str
    values: str
    sigma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it left."""

    time: str
    study: str
    round: int | None
    phase: str
    decision: str
    bytes: int | None
    digest: str
    fields: tuple[tuple[str, str], ...]  # empty: an older line, without
    sums: tuple[Sums, ...]


def messages(lines: Sequence[Line], most: int = MOST) -> tuple[Message, ...]:
    """Return what left, the last first."""
    found = [_message(line) for line in lines if line["kind"] in ("sent", *_OTHERS)]
    return tuple(reversed(found))[:most]


def total_bytes(found: Sequence[Message]) -> int:
    """Return the size of all these messages together."""
    return sum(message.bytes or 0 for message in found)


def _message(line: Line) -> Message:
    fields = line.get("fields")
    known = fields if isinstance(fields, dict) else {}
    return Message(
        time=f"{local(str(line['time'])):%Y-%m-%d %H:%M:%S}",
        study=str(line.get("study", "")),
        round=line.get("round"),
        phase=str(line.get("phase", "")),
        decision=str(line.get("decision") or _OTHERS.get(str(line["kind"]), "")),
        bytes=line.get("bytes"),
        digest=str(line.get("digest", "")),
        fields=tuple(_fields(known)),
        sums=tuple(_sums(known.get("sums") or {})),
    )


def _fields(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not known:
        return
    if known.get("tensors"):
        length = known.get("length")
        size = f", joint length {length:.4g}" if length is not None else ""
        yield "update", f"{known['numbers']} numbers in {known['tensors']} tensors{size}"
    if known.get("steps"):
        yield "steps", str(known["steps"])
    yield "ledger lines told", str(known.get("ledger_lines", 0))
    yield "ledger head", str(known.get("ledger_head") or "none")
    yield "fedrad", str(known.get("fedrad") or "not said")


def _sums(blocks: Mapping[str, Any]) -> Iterator[Sums]:
    for name, block in blocks.items():
        values = ("none" if value is None else f"{value:g}" for value in block["values"])
        yield Sums(name=str(name), values=", ".join(values), sigma=float(block["sigma"]))
