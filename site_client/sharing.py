"""Tell a coordinator how many patients there are before a yes: one charged, noised record.

A person sees first what would leave, what it costs and what is left (``offer``). Then the
charge is written and synced, noise is drawn, the record is kept in ``state/feasibility/``,
and only then it may leave. Asked again, the kept record is given again. A record that was
charged and never written stays charged; another one, or newer counts, is another charge:
``share_again``. Counting is ``tally``'s business, the decision ``guard``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fedrad
from fedrad import durable
from fedrad.clock import Clock
from fedrad.contract import agreed_patients
from fedrad.errors import DeclinedError, PrivacyError, SettingsError
from fedrad.feasibility.cells import charged_as, event
from fedrad.feasibility.record import Record, as_bytes, read_record
from fedrad.privacy.accounting import Event, plan_sigma
from fedrad.privacy.bounds import EVERYBODY
from fedrad.privacy.ledger import Charge, Line, reply_of, verify
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.site_report import noised
from fedrad.task import Task, read_task, task_hash
from site_client import audit, guard, study
from site_client.allowance import Allowance, allowed
from site_client.journal import Journal
from site_client.settings import SiteSettings, read_site
from site_client.tally import Tally, tally
from site_client.withdrawal import apply_lists

KEPT = Path("state", "feasibility")
_NONE_AGREED = 0  # no number of patients is agreed before there is a contract


@dataclass(frozen=True, slots=True)
class Counted:
    """One of the site's limits, before and after the charge."""

    limit: str
    stream: str
    before: float  # epsilon
    after: float
    most: float
    delta: float


@dataclass(frozen=True, slots=True)
class Offer:
    """What a person decides on: nothing of it has left, nothing is charged."""

    site: str
    task: Task
    number: int  # of the record that would be made
    epsilon: float  # as approved in site.toml
    event: Event
    tally: Tally  # exact: for the site's own screen
    limits: tuple[Counted, ...]
    study_before: Allowance  # what site.toml would allow of the study now ...
    study_after: Allowance  # ... and with the record charged


@dataclass(frozen=True, slots=True)
class _Place:
    """A task at a site, with the site's ledger."""

    home: Path
    settings: SiteSettings
    task: Task
    journal: Journal
    clock: Clock


def kept_record(home: Path, task_path: Path) -> Record | None:
    """Return the newest record of a task that was made here, if there is one.

    Raises:
        DamagedStateError: It cannot be read.
    """
    found = _folder(home, read_task(task_path)).glob("*.json")
    files = {int(path.stem): path for path in found if path.stem.isdecimal()}
    return read_record(files[max(files)]) if files else None


def offer(home: Path, task_path: Path, clock: Clock) -> Offer:
    """Work out what a first record of a task would tell and cost; nothing is charged.

    Raises:
        PrivacyError: One was charged and is not here; ``offer_again`` is about another.
        DeclinedError, NotReadyError, DataError, LedgerError: As for ``offer_again``.
    """
    place = _place(home, task_path, clock)
    _refuse_lost(place.task, place.journal.lines())
    return offer_again(home, task_path, clock)


def offer_again(home: Path, task_path: Path, clock: Clock) -> Offer:
    """Work out what one more record would tell and cost; nothing is charged.

    Raises:
        DeclinedError: ``site.toml`` does not approve it.
        NotReadyError, BudgetExceededError, PrivacyError: As for ``guard.check_sharing``.
        DataError, LabelError: The archive has nothing for the task.
        LedgerError: The ledger is damaged or lacks lines that left this site.
    """
    place = _place(home, task_path, clock)
    charge = _charge(place, place.journal.lines())
    counted = _counted(place)
    ask = _refuse(place, charge, counted)
    lines = place.journal.lines()
    return Offer(
        site=place.settings.site.name,
        task=place.task,
        number=_number(place.task, lines),
        epsilon=_approved(place.settings, place.task),
        event=charge.event,
        tally=counted,
        limits=tuple(_effects(place.settings, ask, lines)),
        study_before=_allowed(place, counted, lines),
        study_after=_allowed(place, counted, _with(charge, lines)),
    )


def share(home: Path, task_path: Path, clock: Clock) -> Record:
    """Return the record of a task: the kept one, or a first one at its charge.

    Raises:
        PrivacyError: One was charged and is not here; it counts. ``share_again`` makes another.
        DeclinedError, DataError, LedgerError: As for ``offer``; nothing was charged.
    """
    place = _place(home, task_path, clock)
    _approved(place.settings, place.task)
    kept = kept_record(home, task_path)
    if kept is not None:
        return kept
    charge = _charge(place, place.journal.lines())
    _refuse_lost(place.task, place.journal.lines())
    return _made(place, charge)


def share_again(home: Path, task_path: Path, clock: Clock) -> Record:
    """Make another record of a task at another charge, whatever was shared before.

    Raises:
        DeclinedError, PrivacyError, DataError, LedgerError: As for ``offer``.
    """
    place = _place(home, task_path, clock)
    return _made(place, _charge(place, place.journal.lines()))


def hand_out(record: Record, path: Path) -> None:
    """Write a record where a person can send it from.

    Raises:
        SettingsError: Another file is there.
    """
    content = as_bytes(record)
    if not path.exists() or path.read_bytes() != content:
        refuse_taken(path)
        durable.write_bytes(path, content)


def refuse_taken(path: Path) -> None:
    """Refuse a place where something is; asked before a charge, which cannot be taken back.

    Raises:
        SettingsError: Something is there, or its folder is not.
    """
    if path.exists() or not path.absolute().parent.is_dir():
        why = "another file is there" if path.exists() else "its folder does not exist"
        raise SettingsError(str(path), (f"{why}; name another one",))


def _place(home: Path, task_path: Path, clock: Clock) -> _Place:
    settings = read_site(home)
    return _Place(home, settings, read_task(task_path), Journal(home, clock), clock)


def _made(place: _Place, charge: Charge) -> Record:
    """Count, charge, draw the noise, keep; in this order."""
    counted = _counted(place)
    with place.journal.exclusive():
        lines = place.journal.lines()
        if charge != _charge(place, lines):
            raise PrivacyError("another record of this task was charged meanwhile; ask again")
        _refuse(place, charge, counted)
        study.note_sharing(place.home, place.settings, place.task)
        line = place.journal.release(charge)
    record = _noised(place, counted.blocks, line, number=_number(place.task, lines))
    path = _folder(place.home, place.task) / f"{record.number}.json"
    durable.write_bytes(path, as_bytes(record))
    _note(place, record)
    return record


def _noised(place: _Place, exact: Sequence[Block], line: Line, *, number: int) -> Record:
    multiplier = line.event.multiplier
    values = {
        block.name: tuple(map(float, block.values))
        for block in noised(exact, sigma=multiplier, rng=noise_source())
    }
    return Record(
        site=place.settings.site.name,
        task_hash=task_hash(place.task),
        number=number,
        noise=multiplier,
        ledger_line=line.hash,
        fedrad_version=fedrad.__version__,
        patients=values["patients"],
        vendors=values["vendors"],
        views=values["views"],
    )


def _note(place: _Place, record: Record) -> None:
    audit.record(
        place.home,
        place.clock,
        "shared",
        task_hash=record.task_hash,
        number=record.number,
        noise=record.noise,
        digest=hashlib.sha256(as_bytes(record)).hexdigest(),
        ledger_head=place.journal.head,
    )


def _counted(place: _Place) -> Tally:
    apply_lists(place.home, place.settings, place.clock)
    return tally(place.home, place.settings, place.task)


def _approved(settings: SiteSettings, task: Task) -> float:
    """Return the epsilon of one record, as a person put it into ``site.toml``."""
    name = task_hash(task)
    found = settings.approval.feasibility.get(name)
    if found is None:
        raise DeclinedError(
            "sharing feasibility of this task is not approved; to allow one record at epsilon 0.5, "
            f'put this under [approval] in site.toml: feasibility = {{ "{name}" = 0.5 }}'
        )
    return found


def _charge(place: _Place, lines: Sequence[Line]) -> Charge:
    epsilon, delta = _approved(place.settings, place.task), place.settings.privacy.delta_limit
    contract = charged_as(place.task)
    parts = [contract, place.settings.site.name, str(_number(place.task, lines))]
    return Charge(
        reservation=hashlib.sha256("\x1f".join(parts).encode()).hexdigest(),
        stream=EVERYBODY,
        task_hash=contract,
        event=event(plan_sigma(epsilon=epsilon, delta=delta, q=1.0, steps=1)),
        patients_agreed=_NONE_AGREED,
    )


def _refuse(place: _Place, charge: Charge, counted: Tally) -> guard.Ask:
    """Return the guard's question, answered with yes."""
    with place.journal.exclusive():
        lines = place.journal.lines()
        guard.check_anchor(audit.last_head(place.home), lines)
        known = study.charged(place.home, place.settings, lines=len(lines))
        ask = guard.Ask(
            task=place.task,
            charge=charge,
            simulated=False,
            revisions=known.revisions(place.task.task.name, lines),
            charged=known.plans,
        )
        guard.check_sharing(
            place.settings, ask, lines, patients=counted.patients, train=counted.train
        )
    return ask


def _number(task: Task, lines: Sequence[Line]) -> int:
    """Return the number of the next record: every charge of the task had one."""
    return 1 + len({reply_of(line) for line in lines if line.task_hash == charged_as(task)})


def _refuse_lost(task: Task, lines: Sequence[Line]) -> None:
    if _number(task, lines) > 1:
        raise PrivacyError(
            f"a record of this task was charged and is not in {KEPT}: the program ended before "
            "it was written, or it was deleted. It counts as spent; --again makes another one, "
            "at another charge"
        )


def _effects(settings: SiteSettings, ask: guard.Ask, lines: Sequence[Line]) -> list[Counted]:
    return [
        Counted(
            limit=one.limit.name,
            stream=one.stream,
            before=one.cap.used(one.paid),
            after=one.after(ask.charge.event),
            most=one.limit.epsilon,
            delta=one.limit.delta,
        )
        for one in guard.bounds(settings, ask, lines)
    ]


def _allowed(place: _Place, counted: Tally, lines: Sequence[Line]) -> Allowance:
    agreed = max(1, agreed_patients(counted.train))
    return allowed(place.home, place.settings, place.task, agreed=agreed, lines=lines)


def _with(charge: Charge, lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the ledger as it would be; the chain stays as it is."""
    chain = verify(lines)
    chain.append(chain.charge_line("release", charge, time=""))
    return chain.lines


def _folder(home: Path, task: Task) -> Path:
    return home / KEPT / task_hash(task)
