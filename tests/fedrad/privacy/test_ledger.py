"""A ledger cannot be changed unseen, and never says less than was spent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import AlreadyChargedError, LedgerError
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import (
    Chain,
    Charge,
    Line,
    as_table,
    encode,
    line_from,
    parse_line,
    reply_of,
    sealed,
    spent,
    verify,
)


def charge(reply: str = "a1", *, stream: str = "train", steps: int = 10) -> Charge:
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.25, steps=steps)
    return Charge(
        reservation=reply, stream=stream, task_hash="t1", event=event, patients_agreed=120  # type: ignore[arg-type]
    )  # fmt: skip


def reserve(chain: Chain, asked: Charge) -> Line:
    line = chain.charge_line("reserve", asked, time="2026-01-01T00:00:00.000Z")
    chain.append(line)
    return line


def commit(chain: Chain, reply: str, steps: int) -> Line:
    line = chain.commit_line(chain.newest_open(reply), steps=steps, time="2026-01-01T00:00:01.000Z")
    chain.append(line)
    return line


def three_lines() -> list[Line]:
    chain = Chain()
    reserve(chain, charge("a1"))
    commit(chain, "a1", 8)
    reserve(chain, charge("a2"))
    return list(chain.lines)


def test_a_line_has_the_fields_of_the_contract_and_survives_writing() -> None:
    line = three_lines()[1]
    fields = (
        "schema seq time kind reservation stream task_hash mechanism sigma sensitivity q steps "
        "patients_agreed prev hash"
    )
    assert list(as_table(line)) == fields.split()
    assert parse_line(encode(line)) == line
    assert line_from(json.loads(encode(line))) == line


def test_lines_are_chained_from_an_empty_head() -> None:
    first, second, third = three_lines()
    assert first.prev == ""
    assert (second.prev, third.prev) == (first.hash, second.hash)
    assert verify([first, second, third]).head == third.hash


CHANGES = {
    "time": "2027-01-01T00:00:00.000Z",
    "steps": 1,
    "sigma": 99.0,
    "q": 0.01,
    "patients_agreed": 1,
    "task_hash": "t2",
    "stream": "window",
    "prev": "0" * 64,
    "seq": 7,
    "schema": 2,
}


@given(st.sampled_from(sorted(CHANGES)), st.integers(0, 2))
def test_no_field_of_no_line_can_be_changed_unseen(field: str, index: int) -> None:
    lines = three_lines()
    lines[index] = replace(lines[index], **{field: CHANGES[field]})
    with pytest.raises(LedgerError, match="ledger line"):
        verify(lines)


def test_a_changed_line_with_a_new_hash_breaks_the_line_after() -> None:
    lines = three_lines()
    lines[0] = sealed(replace(lines[0], steps=11))
    with pytest.raises(LedgerError, match="ledger line 1: it does not follow"):
        verify(lines)


@pytest.mark.parametrize("kept", [(1, 2), (0, 2), (0, 2, 1), (0, 0, 1)])
def test_a_missing_moved_or_repeated_line_is_seen(kept: tuple[int, ...]) -> None:
    lines = three_lines()
    with pytest.raises(LedgerError, match="does not follow"):
        verify([lines[index] for index in kept])


def test_a_commit_settles_its_reservation_and_an_open_one_counts_in_full() -> None:
    streams = spent(three_lines())
    assert [event.steps for event in streams["train"]] == [8, 10]


@given(st.integers(1, 50), st.data())
def test_what_is_spent_is_at_least_what_was_committed(reserved: int, data: st.DataObject) -> None:
    chain = Chain()
    reserve(chain, charge(steps=reserved))
    assert spent(chain.lines)["train"][0].steps == reserved
    taken = data.draw(st.integers(0, reserved))
    commit(chain, "a1", taken)
    assert spent(chain.lines)["train"][0].steps == taken


def test_a_commit_may_not_raise_the_steps() -> None:
    chain = Chain()
    reserve(chain, charge(steps=10))
    with pytest.raises(LedgerError, match="11 steps of 10 reserved"):
        commit(chain, "a1", 11)


def test_a_commit_may_not_change_the_noise() -> None:
    chain = Chain()
    reserved = reserve(chain, charge())
    cheaper = replace(chain.commit_line(reserved, steps=1, time=""), sigma=50.0)
    with pytest.raises(LedgerError, match="it changes sigma of its reservation"):
        chain.append(sealed(cheaper))


def test_a_reply_that_was_settled_is_not_charged_again() -> None:
    chain = Chain()
    reserve(chain, charge("a1"))
    commit(chain, "a1", 10)
    with pytest.raises(AlreadyChargedError, match="send the kept reply again"):
        reserve(chain, charge("a1"))


def test_an_attempt_that_died_stays_charged_beside_the_next() -> None:
    chain = Chain()
    reserve(chain, charge("a1"))
    second = reserve(chain, charge("a1"))
    assert (second.reservation, reply_of(second)) == ("a1#2", "a1")
    commit(chain, "a1", 4)
    assert [event.steps for event in spent(chain.lines)["train"]] == [10, 4]
    with pytest.raises(LedgerError, match="not open"):
        commit(chain, "a1", 0)


def test_one_reply_may_release_from_two_splits() -> None:
    chain = Chain()
    for stream in ("audit", "test"):
        chain.append(chain.charge_line("release", charge(stream=stream, steps=1), time=""))
    assert set(spent(chain.lines)) == {"audit", "test"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "exactly the fields"),
        (b'{"seq":1}', "exactly the fields"),
    ],
)
def test_a_line_that_is_none_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(LedgerError, match=reason):
        parse_line(text)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("steps", True, "steps of a ledger line must be int"),
        ("sigma", 2, "sigma of a ledger line must be float"),
        ("steps", -1, "steps must be 0 or more"),
        ("q", 1.5, "q must lie in"),
        ("kind", "refund", "unknown kind or stream"),
        ("mechanism", "none", "'none' is not known"),
    ],
)
def test_a_value_that_no_line_can_have_is_refused(field: str, value: object, reason: str) -> None:
    table = {**as_table(three_lines()[0]), field: value}
    with pytest.raises(LedgerError, match=reason):
        line_from(table)
