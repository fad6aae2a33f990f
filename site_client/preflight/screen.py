"""A check on a terminal and as one JSON object."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from site_client.preflight.check import Check
from site_client.preflight.lines import Line

_INDENT = 11  # columns of the verdict


def answer(found: Check) -> str:
    """Return the answer in one sentence."""
    question = f"Can {found.site} join {found.task}?"
    if found.exit_code:
        against = [line for line in found.lines if line.verdict == "no"]
        return f"{question} No: {_things(len(against))} in the way."
    return f"{question} Yes{'.' if found.approved else ', once it is approved.'}"


def as_table(found: Check, page: Path) -> dict[str, Any]:
    """Return a check as one JSON object."""
    table = dataclasses.asdict(found)
    for line in table["lines"]:
        line["code"] *= line["verdict"] == "no"
    return {
        "answer": "no" if found.exit_code else "yes",
        "exit_code": found.exit_code,
        **table,
        "page": str(page),
    }


def as_text(found: Check, page: Path, width: int) -> str:
    """Return what ``fedrad-site check`` prints on a screen of ``width`` columns."""
    about = max(len(line.about) for line in found.lines) + 2
    lines = [part for line in found.lines for part in _folded(line, about, width)]
    tables = [*_patients(found), *_reasons(found)]
    return "\n".join([answer(found), "", *lines, "", *tables, f"more, for this hospital: {page}"])


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"


def _folded(line: Line, about: int, width: int) -> Iterator[str]:
    said = f"{line.found} ({line.limit})" if line.limit else line.found
    first = f"  {line.verdict:<{_INDENT - 2}}{line.about:<{about}}"
    further = " " * (_INDENT + about)
    yield textwrap.fill(
        said, width, initial_indent=first, subsequent_indent=further, **_WHOLE_WORDS
    )
    if line.do and line.verdict != "ok":
        yield textwrap.fill(
            line.do,
            width,
            initial_indent=f"{further}-> ",
            subsequent_indent=f"{further}   ",
            **_WHOLE_WORDS,
        )


_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def _patients(found: Check) -> Iterator[str]:
    if not found.patients:
        return
    splits = list(next(iter(found.patients.values())))
    name = max(map(len, found.patients)) + 2
    yield f"  {'patients':<{max(name, 10)}}" + "".join(f"{split:>8}" for split in splits)
    for label, counts in found.patients.items():
        yield f"  {label:<{max(name, 10)}}" + "".join(f"{counts[s]:>8}" for s in splits)
    if not found.prepared:
        yield "  pixels were not read yet, so there may be fewer"
    yield ""


def _reasons(found: Check) -> Iterator[str]:
    if found.set_aside:
        yield "  set aside"
        yield from (f"  {one.files:>8}  {one.reason}: {one.means}" for one in found.set_aside)
        yield ""
