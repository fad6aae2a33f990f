"""Windows of one task hold disjoint patients: nobody pays for two, and none pays less than said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedrad.privacy.accounting import Event, epsilon
from fedrad.privacy.bounds import Limit, bound
from fedrad.privacy.ledger import Chain, Charge, Line, in_window, spent, window_of

EVENT = Event(mechanism="gaussian", sigma=2.0, q=1.0, steps=1)


def charge(reply: str, number: int, *, task: str = "t1", sigma: float = 2.0) -> Charge:
    event = Event(mechanism="gaussian", sigma=sigma, q=1.0, steps=1)
    return Charge(
        reservation=in_window(reply, number),
        stream="window",
        task_hash=task,
        event=event,
        patients_agreed=100,
    )


def lines_of(*charges: Charge) -> tuple[Line, ...]:
    chain = Chain()
    for one in charges:
        chain.append(chain.charge_line("release", one, time="2026-01-01T00:00:00.000Z"))
    return chain.lines


def test_a_line_says_its_window_whichever_attempt_it_is() -> None:
    (line,) = lines_of(charge("a1", 12))
    again = Chain()
    again.append(line)
    lost = again.adoption_line(line, steps=1, time="2026-01-01T00:00:00.000Z")
    assert (window_of(line), window_of(lost)) == ("12", "12")


def test_of_a_task_the_costliest_window_counts() -> None:
    lines = lines_of(charge("a", 0), charge("b", 1), charge("c", 1), charge("d", 2))
    assert spent(lines)["window"] == (EVENT, EVENT)


def test_windows_of_two_tasks_may_hold_the_same_patient() -> None:
    lines = lines_of(charge("a", 0), charge("b", 7, task="t2"))
    assert spent(lines)["window"] == (EVENT, EVENT)


def test_a_window_that_was_released_has_no_room_and_the_next_has() -> None:
    lines = lines_of(charge("a", 0))
    limit = Limit(name="own", epsilon=epsilon([EVENT], 1e-5), delta=1e-5)
    plans = {"t1": {"window": 1}}
    same, other = charge("b", 0), charge("c", 1)
    full = bound(lines, "window", limit=limit, plans=plans, coming=same)
    free = bound(lines, "window", limit=limit, plans=plans, coming=other)
    assert not full.allows(same.event)
    assert free.allows(other.event)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["t1", "t2"])), max_size=8))
def test_no_patient_pays_more_than_what_is_said(windows: list[tuple[int, str]]) -> None:
    """Any choice of one window of each task costs at most what ``spent`` says."""
    lines = lines_of(*(charge(f"r{n}", w, task=t) for n, (w, t) in enumerate(windows)))
    said = len(spent(lines).get("window", ()))
    for first in range(4):
        for second in range(4):
            theirs = [w == {"t1": first, "t2": second}[t] for w, t in windows]
            assert sum(theirs) <= said
