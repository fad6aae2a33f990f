"""Ledger lines of replies become rows whose totals grow as the accountant says."""

from __future__ import annotations

import pytest

from aggregator.spending import Spending, parse_lines
from fedrad.errors import ProtocolError
from fedrad.privacy.accounting import Event, epsilon
from fedrad.privacy.ledger import Chain, Charge, Line, as_table

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


def reserved_and_committed(chain: Chain, number: int) -> list[Line]:
    reserve = chain.charge_line("reserve", charge(number), time=NOW)
    chain.append(reserve)
    commit = chain.commit_line(reserve, steps=10, time=NOW)
    chain.append(commit)
    return [reserve, commit]


def test_the_total_after_two_rounds_is_that_of_twenty_steps() -> None:
    chain, spending = Chain(), Spending(1e-5)
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
    spending = Spending(1e-5)
    first, second = (spending.rows(1, "east", lines)[0].epsilon for _ in range(2))
    assert first == second


def test_sites_do_not_share_a_total() -> None:
    spending = Spending(1e-5)
    first = spending.rows(1, "east", reserved_and_committed(Chain(), 1))[0]
    other = spending.rows(1, "west", reserved_and_committed(Chain(), 2))[0]
    assert first.epsilon == other.epsilon


def test_an_exact_release_has_no_epsilon_to_show() -> None:
    line = Chain().charge_line("release", charge(1, "exact"), time=NOW)
    assert Spending(1e-5).rows(1, "east", [line])[0].epsilon is None


def test_an_event_that_is_no_ledger_line_is_a_protocol_error() -> None:
    table = as_table(reserved_and_committed(Chain(), 1)[0])
    assert parse_lines([table])
    with pytest.raises(ProtocolError, match="must have exactly the fields"):
        parse_lines([{"seq": 1}])
