"""Facts of a run's first screen: one sentence each, with the command that shows it.

A simulation measures some itself and leaves them in ``facts.json``: planted identifiers
counted and found, broken files by reason. The others are made from the run's own records by
the report. A fact is printed in one type size, whichever way it came out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad.errors import DamagedStateError
from fedrad.settings import as_table

NAME = "facts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One sentence that a reader can check.

    ``key`` is unique in a run; ``banner`` is kept for the sentence on every page. A key whose
    first word is ``worth``, ``refusal`` or ``privacy`` replaces what the report would say
    itself. ``value`` and ``text`` read as one sentence.
    """

    key: str
    text: str
    value: str = ""  # the number or word in front; may be empty
    command: str = ""  # what prints it again
    lines: tuple[str, ...] = ()  # further sentences in the same type size


def write_facts(folder: Path, facts: Iterable[Fact]) -> None:
    """Write ``facts.json`` into a run folder, durably."""
    durable.write_json(folder / NAME, [as_table(fact) for fact in facts])


def read_facts(folder: Path) -> tuple[Fact, ...]:
    """Read ``facts.json``; no file is no facts.

    Raises:
        DamagedStateError: It is there and cannot be used.
    """
    path = folder / NAME
    if not path.exists():
        return ()
    try:
        return tuple(_fact(entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError):
        way_out = "it must be a list of objects with key and text; run the study again"
        raise DamagedStateError(f"{path} cannot be used: {way_out}") from None


def _fact(entry: dict[str, Any]) -> Fact:
    return Fact(
        key=str(entry["key"]),
        text=str(entry["text"]),
        value=str(entry.get("value") or ("0" if entry.get("value") == 0 else "")),
        command=str(entry.get("command") or ""),
        lines=tuple(str(line) for line in entry.get("lines") or ()),
    )
