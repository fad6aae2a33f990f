"""Ledger lines of replies become rows whose totals grow as the accountant says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_federation import tiny_contract, tiny_task

from aggregator.paid import paid_by_site
from aggregator.run_folder import TABLES, Run
from aggregator.spending import Spending, parse_lines
from aggregator.tables import Spent
from fedrad.errors import ProtocolError
from fedrad.privacy.accounting import Event, epsilon, site_epsilon
from fedrad.privacy.ledger import Chain, Charge, Line, as_table, spent

NOW = "2026-01-01T00:00:00.000Z"


def charge(number: int, mechanism: str = "subsampled-gaussian") -> Charge:
    sigma, q = (0.0, 1.0) if mechanism == "exact" else (1.1, 0.1)
    event = Event(mechanism=mechanism, sigma=sigma, q=q, steps=10)
    return Charge(
        reservation=f"{number:064x}",
        stream="train",
        task_hash="t" * 64,
        event=event,
        patients_agreed=100,
    )


def reserved_and_committed(chain: Chain, number: int, *, steps: int = 10) -> list[Line]:
    reserve = chain.charge_line("reserve", charge(number), time=NOW)
    chain.append(reserve)
    commit = chain.commit_line(reserve, steps=steps, time=NOW)
    chain.append(commit)
    return [reserve, commit]


def a_run(folder: Path, rows: list[Spent]) -> Run:
    """Return a run with a private task in which these rows were recorded."""
    task = tiny_task()
    task = replace(task, evaluation=replace(task.evaluation, release="private"))
    names = [column.name for column in Spent.__table__.columns]
    tables = dict.fromkeys(TABLES, ())
    tables["privacy"] = tuple({name: getattr(row, name) for name in names} for row in rows)
    return Run(
        folder=folder,
        tables=tables,
        task=task,
        contract=tiny_contract(task, ("east",)),
        comparison=None,
        stated=(),
    )


def test_the_total_after_two_rounds_is_that_of_twenty_steps() -> None:
    chain, spending = Chain(), Spending(1e-5, most_lines=100)
    totals = []
    for number in (1, 2):
        (row,) = spending.rows(number, "east", reserved_and_committed(chain, number))
        totals.append(row.epsilon)
        assert (row.round, row.site, row.stream, row.steps) == (number, "east", "train", 10)
    one = Event(mechanism="subsampled-gaussian", sigma=1.1, q=0.1, steps=10)
    assert totals == [epsilon([one], 1e-5), epsilon([one, one], 1e-5)]
    assert totals[0] < totals[1]


def test_the_same_reply_twice_is_spent_once() -> None:
    lines = reserved_and_committed(Chain(), 1)
    spending = Spending(1e-5, most_lines=100)
    first, second = (spending.rows(1, "east", lines)[0].epsilon for _ in range(2))
    assert first == second


def test_a_lost_reply_and_a_dead_attempt_are_paid_for_as_the_site_has_them(tmp_path: Path) -> None:
    """Round 1 is heard of; the reply to 2 is lost; 3 died once; 4's reply tells all since 1."""
    chain, spending = Chain(), Spending(1e-5, most_lines=100)
    table = spending.rows(1, "east", reserved_and_committed(chain, 1))
    since = reserved_and_committed(chain, 2)
    since += [chain.charge_line("reserve", charge(3), time=NOW)]
    chain.append(since[-1])
    since += reserved_and_committed(chain, 3, steps=4)
    table += spending.rows(4, "east", since)
    table = [row for row in table if row.round == 1] + spending.rows(4, "east", since)
    assert [(row.round, row.steps) for row in table] == [(1, 10), (4, 24)]
    (paid,) = paid_by_site(a_run(tmp_path, table))
    assert paid.steps == 34
    assert paid.epsilon == site_epsilon(spent(chain.lines), 1e-5) == table[-1].epsilon


def test_a_commit_lowers_the_row_of_the_round_that_told_the_reservation() -> None:
    chain, spending = Chain(), Spending(1e-5, most_lines=100)
    reserve, commit = reserved_and_committed(chain, 1, steps=4)
    assert [row.steps for row in spending.rows(1, "east", [reserve])] == [10]
    (row,) = spending.rows(2, "east", [commit])
    assert (row.round, row.steps) == (1, 4)


def test_a_site_cannot_tell_lines_without_end() -> None:
    chain, spending = Chain(), Spending(1e-5, most_lines=4)
    lines = [line for number in (1, 2, 3) for line in reserved_and_committed(chain, number)]
    spending.rows(1, "east", lines[:4])
    with pytest.raises(ProtocolError, match="told 6 ledger lines, over 4"):
        spending.rows(2, "east", lines[4:])
    assert spending.rows(2, "east", lines[:4])[0].steps == 20


def test_sites_do_not_share_a_total() -> None:
    spending = Spending(1e-5, most_lines=100)
    first = spending.rows(1, "east", reserved_and_committed(Chain(), 1))[0]
    other = spending.rows(1, "west", reserved_and_committed(Chain(), 2))[0]
    assert first.epsilon == other.epsilon


def test_an_exact_release_has_no_epsilon_to_show() -> None:
    line = Chain().charge_line("release", charge(1, "exact"), time=NOW)
    assert Spending(1e-5, most_lines=100).rows(1, "east", [line])[0].epsilon is None


def test_an_event_that_is_no_ledger_line_is_a_protocol_error() -> None:
    table = as_table(reserved_and_committed(Chain(), 1)[0])
    assert parse_lines([table])
    with pytest.raises(ProtocolError, match="must have exactly the fields"):
        parse_lines([{"seq": 1}])


def test_lines_that_a_site_lost_and_took_in_again_change_no_total() -> None:
    """A site whose ledger was deleted charges what this run told it, and trains on."""
    chain, spending = Chain(), Spending(1e-5, most_lines=100)
    first = reserved_and_committed(chain, 1, steps=8)
    (before,) = spending.rows(1, "east", first)
    again = Chain()
    for lost, steps in zip(first, (0, 8), strict=True):
        again.append(again.adoption_line(lost, steps=steps, time=NOW))
    (row,) = spending.rows(2, "east", [*again.lines, *reserved_and_committed(again, 2)])
    assert (row.round, row.steps) == (2, 10)
    assert row.epsilon == epsilon([replace(charge(1).event, steps=18)], 1e-5)
    assert spending.rows(3, "east", again.lines[:2]) == []
    assert before.steps == 8
