"""One line of a check: what was looked at, what was found, against what, and what to do.

A line is ``ok``, a ``warning`` (the site can join all the same) or ``no``. What is looked at
belongs to the modules that make lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "no"]

NO, UNREACHABLE, POLICY, DAMAGED = 1, 3, 4, 5  # exit codes of a "no"
_WORST_FIRST = (DAMAGED, UNREACHABLE, NO, POLICY)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    verdict: Verdict
    about: str
    found: str
    limit: str = ""
    do: str = ""  # the way out; empty where nothing is to be done
    code: int = NO  # how a command ends if this is a "no"


def ok(about: str, found: str, limit: str = "") -> Line:
    """Return a line about something that is as it should be."""
    return Line("ok", about, found, limit)


def warning(about: str, found: str, *, limit: str = "", do: str) -> Line:
    """Return a line about something that a person should look at."""
    return Line("warning", about, found, limit, do)


def no(about: str, found: str, *, limit: str = "", do: str, code: int = NO) -> Line:
    """Return a line about something that keeps the site out."""
    return Line("no", about, found, limit, do, code)


def exit_code(lines: Iterable[Line]) -> int:
    """Return how a command ends: 0 without a "no", else the gravest code.

    Damaged state comes before what cannot be reached, then any other no; 4 is left where
    nothing but the site's own policy stands in the way.
    """
    codes = {line.code for line in lines if line.verdict == "no"}
    return next((code for code in _WORST_FIRST if code in codes), 0)
