"""Compare what two ends recorded of the messages between them, offline.

Each end exports its lines about one study as a file; the other compares it with its own. A
message is the same at both ends if direction, round, phase, digest and size are. The file
carries the head of its record: an end that keeps it can show later that the other's record was
cut. Files come from strangers and are read as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedrad import audit_log, durable
from fedrad.documents import printable, read_document
from fedrad.errors import EnrolmentError, SettingsError
from fedrad.settings import as_table, build, refuse_problems

SCHEMA = 1
MOST_BYTES = 256 * 1024 * 1024
End = Literal["site", "coordinator"]
_WHERE = {
    ("site", "received"): "to-site",
    ("site", "sent"): "to-coordinator",
    ("coordinator", "sent"): "to-site",
    ("coordinator", "received"): "to-coordinator",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """One message as an end recorded it."""

    direction: Literal["to-site", "to-coordinator"]
    round: int
    phase: str
    digest: str  # fedrad.protocol.digests; empty: it could not be read
    bytes: int
    time: str = ""
    decision: str = ""

    @property
    def what(self) -> tuple[int, str, str, str, int]:
        """What must be the same at both ends, in the order of a listing."""
        return (self.round, self.phase, self.direction, self.digest, self.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One end's lines about one study and one site."""

    schema: int = SCHEMA
    end: End
    site: str
    study: str
    head: str  # of the whole record when this was written
    lines: int
    messages: tuple[Passed, ...]

    def __post_init__(self) -> None:
        refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}; update the older side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the two ends say of the same messages."""

    same: int
    only_here: tuple[Passed, ...]
    only_there: tuple[Passed, ...]


def export(record: Path, *, end: End, site: str, study: str) -> Export:
    """Return one end's messages of a study, its record verified.

    Raises:
        DamagedStateError: The record does not verify.
    """
    head = audit_log.verify(record)
    messages = tuple(
        _passed(line, end)
        for line in audit_log.read(record)
        if (end, line["kind"]) in _WHERE
        and line.get("study") == study
        and line.get("site", site) == site
    )
    return Export(
        end=end, site=site, study=study, head=head.hash, lines=head.lines, messages=messages
    )


def write_export(path: Path, found: Export) -> None:
    """Write an export for the other end."""
    durable.write_json(path, as_table(found))


def read_export(path: Path) -> Export:
    """Read the other end's export.

    Raises:
        EnrolmentError: It is not one.
    """
    try:
        return build(Export, read_document(path, most_bytes=MOST_BYTES))
    except SettingsError as error:
        raise EnrolmentError(f"{path} is no export of a record: {error.problems[0]}") from None


def compare(here: Export, there: Export) -> Comparison:
    """Match two exports message by message.

    Raises:
        EnrolmentError: They are not of the two ends of one site and study.
    """
    if here.end == there.end:
        raise EnrolmentError(f"both exports are the {here.end}'s; compare a site's with the other")
    if (here.site, here.study) != (there.site, there.study):
        raise EnrolmentError(
            f"here it is {here.site!r} in {here.study!r}, there {there.site!r} in {there.study!r}"
        )
    ours, theirs = (Counter(one.what for one in end.messages) for end in (here, there))
    return Comparison(
        same=(ours & theirs).total(),
        only_here=_left(here, ours - theirs),
        only_there=_left(there, theirs - ours),
    )


def as_text(found: Comparison) -> str:
    """Return the comparison for a screen."""
    lines = [f"{found.same} messages are the same at both ends"]
    for name, messages in (("here", found.only_here), ("there", found.only_there)):
        lines += [
            f"only {name}: round {one.round}, {one.phase}, {one.direction}, {one.bytes} bytes, "
            f"{one.digest[:16] or 'unreadable'} ({one.decision[:80] or 'no decision'}) {one.time}"
            for one in messages
        ]
    return "\n".join(printable(line) for line in lines)


def _passed(line: dict[str, Any], end: End) -> Passed:
    return Passed(
        direction=_WHERE[end, line["kind"]],  # type: ignore[arg-type]
        round=line["round"],
        phase=line["phase"],
        digest=line["digest"],
        bytes=line["bytes"],
        time=line["time"],
        decision=line["decision"],
    )


def _left(end: Export, missing: Counter[tuple[int, str, str, str, int]]) -> tuple[Passed, ...]:
    left, found = missing.copy(), []
    for one in end.messages:
        if left[one.what] > 0:
            left[one.what] -= 1
            found.append(one)
    return tuple(sorted(found, key=lambda one: one.what))
