"""Which rounds led to where a run stands, whatever was lost, held or set back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from aggregator.lineage import Lineage, lineage


def read(states: dict[int, str], *events: tuple[str, int]) -> Lineage:
    """Read events given as ("committed", round) or ("held" or "rolled-back", round gone to)."""
    rounds = [{"round": number, "state": state} for number, state in states.items()]
    rows = [
        {"kind": kind, "round": number, "detail_json": json.dumps({"back_to": number})}
        for kind, number in events
    ]
    return lineage(rounds, rows)


MADE = dict.fromkeys((1, 2, 3, 4), "evaluated")


def test_each_round_follows_from_the_one_before() -> None:
    found = read(MADE | {3: "void"}, *(("committed", number) for number in (1, 2, 4)))
    assert (found.line, found.stands, found.used, found.left) == ((1, 2, 4), 4, 3, frozenset())


def test_after_a_turn_the_next_round_follows_from_where_it_led() -> None:
    found = read(
        MADE, ("committed", 1), ("committed", 2), ("committed", 3), ("held", 1), ("committed", 4)
    )
    assert (found.line, found.left, found.used) == ((1, 4), {2, 3}, 4)
    assert (found.measured(), found.measured(4)) == (4, 1)


def test_a_person_may_go_forward_again() -> None:
    back = (("committed", 1), ("committed", 2), ("rolled-back", 1), ("rolled-back", 2))
    assert read({1: "evaluated", 2: "evaluated"}, *back).line == (1, 2)


def test_a_turn_to_a_round_that_was_lost_leads_to_the_one_it_came_from() -> None:
    states = {1: "evaluated", 2: "void", 3: "void"}
    turns = (("committed", 1), ("committed", 2), ("committed", 3), ("rolled-back", 2))
    assert read(states, *turns).stands == 1


def test_nothing_stands_before_round_1() -> None:
    assert (read({}).stands, read({1: "asked"}).stands) == (0, 0)
    assert read({1: "evaluated"}, ("committed", 1), ("rolled-back", 0)).line == ()


@given(st.lists(st.integers(0, 6), max_size=12))
def test_a_line_rises_and_holds_only_rounds_that_made_a_model(turns: list[int]) -> None:
    """Each entry commits the next round, then goes back to a round that there is."""
    events: list[tuple[str, int]] = []
    for number, back in enumerate(turns, 1):
        events.append(("committed", number))
        if back < number:
            events.append(("rolled-back", back))
    states = dict.fromkeys(range(1, len(turns) + 1), "committed")
    found = read(states, *events)
    assert list(found.line) == sorted(set(found.line))
    assert set(found.line) | found.left == set(states)
    assert found.used == len(turns)
