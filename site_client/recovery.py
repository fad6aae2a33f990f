"""Take in ledger lines that this site lost and a coordinator still has.

A deleted ledger, or one put back from an old backup, has forgotten what was spent since.
The coordinator's anchor shows it (``guard.check_anchor``); its list of lines mends it, once
a person says so. Every lost line is charged again under its own hash, so that the anchor
verifies and nothing is counted less than it cost. What no coordinator ever saw stays lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrad.clock import Clock
from fedrad.durable import file_digest
from fedrad.errors import LedgerError, SettingsError
from fedrad.privacy.ledger import EMPTY_HEAD, Chain, Line, reply_of, verify, without_doubles
from fedrad.privacy.told import ToldLines, read_told
from fedrad.task import task_hash
from site_client import audit, study
from site_client.journal import Journal
from site_client.settings import SiteSettings


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was taken in."""

    lines: int  # that were lost
    charged: int  # of them, those that cost something; the others are settled by them
    replies: int  # rounds and releases that they belong to


def adopt(home: Path, settings: SiteSettings, clock: Clock, *, lists: Sequence[Path]) -> Adopted:
    """Charge what the coordinators' lists have and the site's ledger lacks.

    All or nothing is decided before the first line is written; a crash in between is mended
    by doing it again.

    Args:
        home: The site's folder.
        settings: Its settings.
        clock: Where the time comes from.
        lists: One file for each study of this site, as ``fedrad-aggregator ledger`` writes.

    Raises:
        DamagedStateError: A file is not such a list.
        DeclinedError: Patients were dealt otherwise when the lines were charged.
        SettingsError: A list is another site's.
        LedgerError: This ledger is damaged, or lines between it and what a coordinator saw
            are in no list.
    """
    told = [read_told(path) for path in lists]
    _refuse_strangers(told, settings.site.name)
    journal = Journal(home, clock)
    with journal.exclusive():
        study.charged(home, settings, lines=1)  # as if charged: how patients were dealt is known
        chain = verify(journal.lines())
        lost = lost_lines(chain, told)
        hashes = {line.task_hash for line, _ in lost}
        tasks = [task for task in study.accepted_tasks(home) if task_hash(task) in hashes]
        study.note_tasks(home, settings, tasks)
        for line, steps in lost:
            journal.adopt(line, steps=steps)
    found = Adopted(
        lines=len(lost),
        charged=sum(steps > 0 for _, steps in lost),
        replies=len({(reply_of(line), line.stream) for line, _ in lost}),
    )
    digests = [file_digest(path) for path in lists]
    head = journal.head
    audit.record(
        home,
        clock,
        "adopted",
        lines=found.lines,
        charged=found.charged,
        lists=digests,
        ledger_head=head,
    )
    return found


def lost_lines(chain: Chain, told: Sequence[ToldLines]) -> list[tuple[Line, int]]:
    """Return every told line that the chain lacks, with the steps that it must charge.

    A reservation that another lost line settles charges 0; a commit whose reservation the
    chain still has charges only what the chain does not, and that is open and counted in
    full as a rule.

    Raises:
        LedgerError: As for ``adopt``: a line is missing in between.
    """
    by_hash = {line.hash: line for one in told for line in one.lines}
    for one in told:
        _refuse_gaps(chain, by_hash, one)
    every = sorted(by_hash.values(), key=lambda line: (line.seq, line.hash))
    lost = [line for line in every if not chain.knows(line.hash)]
    known = by_hash | {line.hash: line for line in chain.lines}
    reserves = {line.hash: _reserve_of(line, known) for line in lost if line.kind == "commit"}
    settled = {reserve.hash for reserve in reserves.values() if reserve is not None}
    free = settled | {line.hash for line in every} - {line.hash for line in without_doubles(every)}
    here = _charged_here(chain, reserves)
    return [
        (line, 0 if line.hash in free else max(0, line.steps - here.get(line.hash, 0)))
        for line in lost
    ]


def _charged_here(chain: Chain, reserves: Mapping[str, Line | None]) -> dict[str, int]:
    """Return, by a lost commit's hash, the steps that the chain charges for its reservation."""
    own = {line.hash for line in chain.lines}
    charged = {(line.reservation, line.stream): line.steps for line in chain.lines}
    return {
        commit: charged[reserve.reservation, reserve.stream]
        for commit, reserve in reserves.items()
        if reserve is not None and reserve.hash in own
    }


def _reserve_of(commit: Line, known: Mapping[str, Line]) -> Line | None:
    """Return the reservation that a commit settles: the nearest one before it."""
    before = known.get(commit.prev)
    while before is not None:
        same = (before.reservation, before.stream) == (commit.reservation, commit.stream)
        if same and before.kind == "reserve":
            return before
        before = known.get(before.prev)
    return None


def _refuse_gaps(chain: Chain, by_hash: Mapping[str, Line], told: ToldLines) -> None:
    hash_, what = told.head, "the last line that it saw"
    while hash_ != EMPTY_HEAD and not chain.knows(hash_):
        line = by_hash.get(hash_)
        if line is None:
            raise LedgerError(
                f"the coordinator of study {told.study!r} does not have {what}: it belongs to "
                "another study of this site; name the lists of all its studies at once, so that "
                "nothing that was spent is forgotten"
            )
        hash_, what = line.prev, f"line {line.seq - 1}"


def _refuse_strangers(told: Sequence[ToldLines], site: str) -> None:
    others = sorted({one.site for one in told} - {site})
    if others:
        raise SettingsError("the list", (f"it is of site {others[0]!r}; this site is {site!r}",))
