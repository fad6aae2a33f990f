"""An examination on a terminal and as one JSON object."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from site_client.doctor.examine import Examined
from site_client.preflight.lines import Line

_INDENT = 11  # columns of the verdict
_WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def answer(found: Examined) -> str:
    """Return the answer in one sentence."""
    against = sum(line.verdict == "no" for line in found.lines)
    if not against:
        return f"{found.site} can take part."
    return f"{found.site} cannot take part: {against} thing{'s are' * (against > 1)}" + (
        " is in the way." if against == 1 else " in the way."
    )


def as_table(found: Examined) -> dict[str, Any]:
    """Return it as one JSON object."""
    lines = [dataclasses.asdict(line) for line in found.lines]
    for line in lines:
        line["code"] *= line["verdict"] == "no"
    word = "no" if found.exit_code else "yes"
    return {"answer": word, "exit_code": found.exit_code, "site": found.site, "lines": lines}


def as_text(found: Examined, width: int) -> str:
    """Return what ``fedrad-site doctor`` prints on a screen of ``width`` columns."""
    about = max(len(line.about) for line in found.lines) + 2
    lines = [part for line in found.lines for part in _folded(line, about, width)]
    return "\n".join([*lines, "", answer(found)])


def _folded(line: Line, about: int, width: int) -> Iterator[str]:
    said = f"{line.found} ({line.limit})" if line.limit else line.found
    first = f"  {line.verdict:<{_INDENT - 2}}{line.about:<{about}}"
    further = " " * (_INDENT + about)
    yield textwrap.fill(said, width, initial_indent=first, subsequent_indent=further, **_WHOLE)
    if line.do and line.verdict != "ok":
        arrow, after = f"{further}-> ", f"{further}   "
        yield textwrap.fill(line.do, width, initial_indent=arrow, subsequent_indent=after, **_WHOLE)
