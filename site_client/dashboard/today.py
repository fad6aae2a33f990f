"""Today's questions: what was asked, what became of each, when the answer left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from site_client.dashboard.records import Line, local

_DECIDED = ("answered", "declined", "sent again")
_TOLD = (
    "warning",
    "not answered",
    "task refused",
    "runner replaced",
    "paused",
    "resumed",
    "withdrew",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of one round and what became of it."""

    study: str
    round: int
    phase: str
    asked: str  # times of day, local; empty: not yet
    left: str
    outcome: str  # empty: it is being worked on, or its program died
    sentence: str  # the site's own words, where it did not answer
    bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something else that the record says."""

    time: str
    kind: str
    text: str


def questions(lines: Sequence[Line], now: datetime) -> tuple[Question, ...]:
    """Return today's questions, the last first.

    Args:
        lines: Of the record, oldest first.
        now: The local time; its day is today.
    """
    found: dict[tuple[str, int, str], dict[str, Line]] = {}
    for line in _of_day(lines, now):
        if line["kind"] in ("received", "sent", *_DECIDED) and "round" in line:
            key = str(line.get("study", "")), int(line["round"]), str(line.get("phase", ""))
            what = "decided" if line["kind"] in _DECIDED else str(line["kind"])
            found.setdefault(key, {})[what] = line
    made = [_question(key, parts) for key, parts in found.items()]
    return tuple(reversed(made))


def notes(lines: Sequence[Line], now: datetime) -> tuple[Note, ...]:
    """Return what else was recorded today, the last first."""
    found = [
        Note(time=_clock(line), kind=str(line["kind"]), text=_text(line))
        for line in _of_day(lines, now)
        if line["kind"] in _TOLD
    ]
    return tuple(reversed(found))


def last_of(lines: Iterable[Line], kinds: Sequence[str]) -> Line | None:
    """Return the last line of one of these kinds."""
    return next((line for line in reversed(list(lines)) if line["kind"] in kinds), None)


def _of_day(lines: Sequence[Line], now: datetime) -> Iterator[Line]:
    return (line for line in lines if local(str(line["time"])).date() == now.date())


def _question(key: tuple[str, int, str], parts: dict[str, Line]) -> Question:
    decided, sent = parts.get("decided", {}), parts.get("sent", {})
    reason = decided.get("reason") or ""
    outcome = str(decided.get("outcome") or str(sent.get("decision", "")).split(":")[0])
    return Question(
        study=key[0],
        round=key[1],
        phase=key[2],
        asked=_clock(parts["received"]) if "received" in parts else "",
        left=_clock(sent) if sent else "",
        outcome=f"{outcome}: {reason}" if outcome and reason else outcome,
        sentence=str(decided.get("sentence", "")),
        bytes=sent.get("bytes"),
    )


def _text(line: Line) -> str:
    by = f"by {line['by']}: {line.get('reason', '')}" if "by" in line else ""
    return str(line.get("sentence") or by)


def _clock(line: Line) -> str:
    return f"{local(str(line['time'])):%H:%M:%S}"
