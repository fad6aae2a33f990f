"""The lines of a site's privacy ledger: what one says, how it is chained, what is spent.

A line is one event in canonical JSON; its hash covers every field and the hash of the line
before, so that none can be changed, dropped or moved unseen. Files belong to
``site_client.journal``, epsilons to ``accounting``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from fedrad.durable import canonical_json
from fedrad.errors import AlreadyChargedError, LedgerError, SettingsError
from fedrad.privacy.accounting import Event, Mechanism

SCHEMA = 1
EMPTY_HEAD = ""  # the head of a ledger without lines
_ATTEMPT = "#"  # never part of a reply_id, which is hexadecimal
_ADOPTED = "#adopted-"  # and then the first _MARK digits of a lost line's hash
_MARK = 24
_WINDOW = "@"  # and then the window's number: whose patients a line of that stream charges

Kind = Literal["reserve", "commit", "release"]
Stream = Literal["train", "audit", "window", "test", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is about to be spent, on which patients, for which reply."""

    reservation: str  # the reply_id
    stream: Stream
    task_hash: str
    event: Event
    patients_agreed: int

    @property
    def exact(self) -> bool:
        """Whether it adds no noise: simulation only."""
        return self.event.mechanism == "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event of the ledger; ``sigma``, ``sensitivity`` and ``q`` as in ``Event``."""

    schema: int
    seq: int  # from 0
    time: str  # ISO 8601, UTC; informative: order is that of seq
    kind: Kind
    reservation: str
    stream: Stream
    task_hash: str
    mechanism: Mechanism
    sigma: float
    sensitivity: float
    q: float
    steps: int
    patients_agreed: int
    prev: str  # hash of the line before; empty for the first
    hash: str

    @property
    def event(self) -> Event:
        """The event that this line charges or, for a commit, settles on."""
        return _event(self.mechanism, self.sigma, self.q, self.steps, self.sensitivity)


def encode(line: Line) -> bytes:
    """Return the line's canonical JSON, without a newline."""
    return canonical_json(asdict(line))


@lru_cache(maxsize=1024)
def _event(mechanism: Mechanism, sigma: float, q: float, steps: int, sensitivity: float) -> Event:
    """Build an event once: a ledger has thousands of lines and few kinds of them."""
    return Event(mechanism=mechanism, sigma=sigma, q=q, steps=steps, sensitivity=sensitivity)


def as_table(line: Line) -> dict[str, Any]:
    """Return the line as a plain dict, as a reply carries it."""
    return asdict(line)


def parse_line(text: bytes | str) -> Line:
    """Read one line.

    Raises:
        LedgerError: Not JSON, not the fields of a line, or a value that no line can have.
    """
    try:
        table = json.loads(text)
    except (ValueError, UnicodeDecodeError):
        raise LedgerError("a ledger line is not JSON") from None
    return line_from(table)


def line_from(table: Any) -> Line:
    """Build a line from a parsed dict, such as an event of a reply.

    Raises:
        LedgerError: As for ``parse_line``.
    """
    if not isinstance(table, dict) or set(table) != set(_FIELDS):
        raise LedgerError(f"a ledger line must have exactly the fields {', '.join(_FIELDS)}")
    for name, kind in _FIELDS.items():
        if type(table[name]) is not kind:
            raise LedgerError(f"{name} of a ledger line must be {kind.__name__}")
    line = Line(**cast("dict[str, Any]", table))
    if line.kind not in get_args(Kind) or line.stream not in get_args(Stream):
        raise LedgerError(f"ledger line {line.seq} has an unknown kind or stream")
    try:
        line.event  # noqa: B018  # building the event checks its numbers
    except SettingsError as error:
        raise LedgerError(f"ledger line {line.seq}: {'; '.join(error.problems)}") from None
    return line


class Chain:
    """A verified sequence of lines that grows at its end."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._open: dict[tuple[str, str], Line] = {}
        self._settled: set[tuple[str, str]] = set()
        self._hashes: set[str] = set()
        self._marks: set[str] = set()  # of the lost lines that adopted ones stand for

    @property
    def head(self) -> str:
        """The hash of the last line; empty for an empty ledger."""
        return self._lines[-1].hash if self._lines else EMPTY_HEAD

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every line, oldest first."""
        return tuple(self._lines)

    def knows(self, hash_: str) -> bool:
        """Whether a line has this hash, or stands for a lost one that had it."""
        return hash_ in self._hashes or hash_[:_MARK] in self._marks

    def next_attempt(self, reservation: str, stream: Stream) -> str:
        """Return the name under which a reply may be charged next.

        The first attempt has the reply's own id. An open attempt is one that died: it
        stays charged, and the next is ``reservation#2``.

        Raises:
            AlreadyChargedError: An attempt was committed or released.
        """
        name, attempt = reservation, 1
        while (name, stream) in self._open:
            attempt += 1
            name = f"{reservation}{_ATTEMPT}{attempt}"
        if (name, stream) in self._settled:
            raise AlreadyChargedError(reservation, stream)
        return name

    def unused_attempt(self, reservation: str, stream: Stream) -> str:
        """Return the first name of a reply under which nothing was charged."""
        name, attempt = reservation, 1
        while (name, stream) in self._open or (name, stream) in self._settled:
            attempt += 1
            name = f"{reservation}{_ATTEMPT}{attempt}"
        return name

    def newest_open(self, reservation: str) -> Line:
        """Return the newest attempt at a reply, still open.

        Raises:
            LedgerError: There is none, or it is settled; what died before stays charged.
        """
        newest = self._newest(reservation)
        if newest is None or not self.is_open(reservation):
            raise LedgerError(f"reservation {reservation} is not open; reserve before committing")
        return newest

    def is_open(self, reservation: str) -> bool:
        """Whether the newest attempt at a reply was reserved and never settled."""
        newest = self._newest(reservation)
        return newest is not None and (newest.reservation, newest.stream) in self._open

    def charge_line(self, kind: Kind, charge: Charge, *, time: str) -> Line:
        """Return the line that would charge ``charge`` next; the chain stays as it is.

        Raises:
            AlreadyChargedError: As for ``next_attempt``.
        """
        event = charge.event
        line = Line(
            schema=SCHEMA, seq=len(self._lines), time=time, kind=kind,
            reservation=self.next_attempt(charge.reservation, charge.stream),
            stream=charge.stream, task_hash=charge.task_hash,
            mechanism=event.mechanism, sigma=float(event.sigma),
            sensitivity=float(event.sensitivity), q=float(event.q), steps=int(event.steps),
            patients_agreed=int(charge.patients_agreed), prev=self.head, hash="",
        )  # fmt: skip
        return sealed(line)

    def commit_line(self, reserved: Line, *, steps: int, time: str) -> Line:
        """Return the line that would settle ``reserved`` at ``steps`` next."""
        return sealed(
            replace(
                reserved,
                seq=len(self._lines),
                time=time,
                kind="commit",
                steps=steps,
                prev=self.head,
                hash="",
            )
        )

    def adoption_line(self, lost: Line, *, steps: int, time: str) -> Line:
        """Return the line that would take in ``lost``, which somebody else has seen, next.

        It is a release of its own, named after the lost line's hash; ``steps`` is 0 where
        another line charges the same work.
        """
        return sealed(
            replace(
                lost,
                seq=len(self._lines),
                time=time,
                kind="release",
                reservation=f"{reply_of(lost)}{_ADOPTED}{lost.hash[:_MARK]}",
                steps=steps,
                prev=self.head,
                hash="",
            )
        )

    def refuse(self, line: Line) -> None:
        """Raise ``LedgerError``, naming the line, unless it may come next."""
        problem = self._problem(line)
        if problem:
            raise LedgerError(f"ledger line {line.seq}: {problem}")

    def append(self, line: Line) -> None:
        """Check ``line`` against everything before it and take it in.

        Raises:
            LedgerError: Names the line and what is wrong with it.
        """
        self.refuse(line)
        key = (line.reservation, line.stream)
        if line.kind == "reserve":
            self._open[key] = line
        else:
            self._open.pop(key, None)
            self._settled.add(key)
        self._lines.append(line)
        self._hashes.add(line.hash)
        if stands_for(line):
            self._marks.add(stands_for(line))

    def _newest(self, reservation: str) -> Line | None:
        attempts = (line for line in reversed(self._lines) if line.kind == "reserve")
        return next((line for line in attempts if reply_of(line) == reservation), None)

    def _problem(self, line: Line) -> str:
        if line.schema != SCHEMA:
            return f"its schema is {line.schema}; this fedrad reads {SCHEMA}"
        if line.seq != len(self._lines) or line.prev != self.head:
            return f"it does not follow line {len(self._lines) - 1}"
        if line.hash != digest(line):
            return "its hash is not that of its content"
        key = (line.reservation, line.stream)
        if line.kind == "commit":
            return _commit_problem(line, self._open.get(key))
        if key in self._open or key in self._settled:
            return "its reservation was charged before"
        return ""


def _commit_problem(line: Line, reserved: Line | None) -> str:
    if reserved is None:
        return "it commits a reservation that is not open"
    if line.steps > reserved.steps:
        return f"it commits {line.steps} steps of {reserved.steps} reserved; it may only lower them"
    bound = ("task_hash", "mechanism", "sigma", "sensitivity", "q", "patients_agreed")
    changed = [name for name in bound if getattr(line, name) != getattr(reserved, name)]
    return f"it changes {', '.join(changed)} of its reservation" if changed else ""


def reply_of(line: Line) -> str:
    """Return the reply_id that a line was charged for, whichever attempt it was."""
    return line.reservation.partition(_ATTEMPT)[0]


def stands_for(line: Line) -> str:
    """Return how the hash of the lost line begins that an adopted one stands for, or nothing."""
    return line.reservation.partition(_ADOPTED)[2]


def in_window(reply_id: str, number: int) -> str:
    """Return the reservation of a window's release: the reply's id and the window's number."""
    return f"{reply_id}{_WINDOW}{number}"


def window_of(line: Line) -> str:
    """Return the number of the window that a line charges; empty: it names none."""
    return reply_of(line).partition(_WINDOW)[2]


def beside(lines: Iterable[Line], task_hash: str, reservation: str) -> list[Line]:
    """Return ``lines`` less those of other windows of the task that a charge is for.

    A patient is in one window of a task for ever, so of that task's windows nobody pays for
    two. Lines of another task may charge any of its windows to the same patient.
    """
    own = reservation.partition(_ATTEMPT)[0].partition(_WINDOW)[2]
    if not own:
        return list(lines)
    return [
        line
        for line in lines
        if line.stream != "window" or line.task_hash != task_hash or window_of(line) in ("", own)
    ]


def without_doubles(lines: Sequence[Line], known: Iterable[str] = ()) -> list[Line]:
    """Return ``lines`` less adopted ones whose originals are among them or are ``known``."""
    marks = {line.hash[:_MARK] for line in lines} | {hash_[:_MARK] for hash_ in known}
    return [line for line in lines if not stands_for(line) or stands_for(line) not in marks]


def digest(line: Line) -> str:
    """Return the SHA-256 over the canonical line without ``hash``, ``prev`` included."""
    table = asdict(line)
    del table["hash"]
    return hashlib.sha256(canonical_json(table)).hexdigest()


def sealed(line: Line) -> Line:
    """Return the line with its own hash."""
    return replace(line, hash=digest(line))


def verify(lines: Iterable[Line]) -> Chain:
    """Check a whole ledger: order, hashes, reservations; return it as a chain.

    Raises:
        LedgerError: Names the first line that does not fit.
    """
    chain = Chain()
    for line in lines:
        chain.append(line)
    return chain


def spent(lines: Sequence[Line]) -> dict[str, tuple[Event, ...]]:
    """Return the events charged so far, per stream of patients.

    A commit takes the place of its reservation; an open reservation counts in full,
    whether its work is still running or died. An adopted line counts unless the one that it
    stands for is there too. The lines of one task can be passed alone.

    Windows of one task hold disjoint patients, so of each task's windows the one counts that
    costs most: what comes out is what one patient pays at most.
    """
    charged: dict[tuple[str, str], Line] = {}
    for line in _costliest(without_doubles(lines)):
        charged[line.reservation, line.stream] = line
    streams: dict[str, list[Event]] = {}
    for (_, stream), line in charged.items():
        streams.setdefault(stream, []).append(line.event)
    return {stream: tuple(events) for stream, events in streams.items()}


def _costliest(lines: Sequence[Line]) -> list[Line]:
    """Return ``lines`` less, of each task, the windows that cost less than its costliest."""
    cost: dict[str, dict[str, float]] = {}
    for line in lines:
        if line.stream == "window" and window_of(line):
            of_task = cost.setdefault(line.task_hash, {})
            one = _precision(line.event)
            of_task[window_of(line)] = of_task.get(window_of(line), 0.0) + one
    most = {task: max(found, key=lambda number: found[number]) for task, found in cost.items()}
    return [
        line
        for line in lines
        if line.stream != "window" or window_of(line) in ("", most.get(line.task_hash, ""))
    ]


def _precision(event: Event) -> float:
    """Return the inverse variance of Gaussian releases: they add up, and more costs more."""
    return float("inf") if event.multiplier == 0 else event.steps / event.multiplier**2


def unsettled(lines: Iterable[Line]) -> list[Line]:
    """Return the reservations that no commit settled: work that runs, or died."""
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        found.pop((line.reservation, line.stream), None)
        if line.kind == "reserve":
            found[line.reservation, line.stream] = line
    return list(found.values())


_FIELDS: dict[str, type] = {
    field.name: {"int": int, "float": float}.get(str(field.type), str) for field in fields(Line)
}
