"""A study keeps its promises whatever dies, is lost, lies or fills up: seeded schedules.

``benchmarks/faults.py`` plays thousands; here is a fixed core of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from simulations.faults import events
from simulations.faults.events import (
    BUSY,
    HUB,
    Answered,
    Damage,
    Full,
    Harm,
    Kill,
    Offline,
    Rollback,
    Schedule,
    draw,
    text,
)
from simulations.faults.history import read
from simulations.faults.shrink import shrink
from site_client import audit

CORE = range(10_000, 10_060)


@pytest.mark.parametrize("first", range(CORE.start, CORE.stop, 10))
def test_ten_schedules_break_no_promise(problems, first: int) -> None:
    for seed in range(first, first + 10):
        broken = problems(draw(seed))
        assert not broken, f"{text(draw(seed))}\n" + "\n".join(broken)


@pytest.mark.long
def test_five_hundred_schedules_break_no_promise(problems) -> None:
    for seed in range(20_000, 20_500):
        broken = problems(draw(seed))
        assert not broken, f"{text(draw(seed))}\n" + "\n".join(broken)


def test_a_schedule_without_events_is_a_quiet_run(playing) -> None:
    history = playing(Schedule(1))
    assert history.lives == ["done"]
    assert [row["state"] for row in read(history).changing] == ["committed"] * 2 + ["evaluated"]


def test_a_schedule_can_be_played_again_to_the_same_history(playing) -> None:
    twice = [read(playing(draw(10_003))) for _ in range(2)]
    kinds = [[(e["kind"], e["round"], e["site"], e["time"]) for e in left.events] for left in twice]
    assert kinds[0] == kinds[1]
    assert twice[0].changing == twice[1].changing


def test_schedules_of_many_seeds_have_every_kind_of_event() -> None:
    found = {type(event) for seed in range(200) for event in draw(seed).events}
    assert found == set(events.Event.__args__)
    how = {event.how for seed in range(400) for event in draw(seed).events if hasattr(event, "how")}
    assert how >= {*events.ON_THE_WAY, BUSY, *events.BAD, "flip", "cut", "empty"}


def test_the_coordinator_is_really_killed_and_the_round_goes_on(playing) -> None:
    history = playing(Schedule(1, (Kill(HUB, 60),)))
    assert history.lives == ["killed", "done"]
    assert [kill.at for kill, _ in history.fired] == [60]
    assert "run-resumed" in [event["kind"] for event in read(history).events]


def test_who_trains_while_the_coordinator_is_away_trains_once_and_sends_what_was_kept(
    playing,
) -> None:
    """The coordinator dies while its first answers come in; the last ones find nobody."""
    sent_again = 0
    for at in (24, 30, 36):
        history = playing(Schedule(1, (Kill(HUB, at),)))
        met = Counter(one.home for one in history.truth.met if one.round == 1)
        assert met == dict.fromkeys(events.SITES, 1)
        for site in events.SITES:
            notes = audit.read(history.homes / site)
            sent_again += sum(note["kind"] == "sent again" for note in notes)
    assert sent_again > 0


def test_a_power_cut_leaves_nothing_that_was_not_synced(playing) -> None:
    """The point is the rename of a reply's file: its content was synced, its name was not."""
    cut = next(
        history
        for at in range(20, 60)
        if (history := playing(Schedule(1, (Kill(HUB, at, power=True),)))).fired[0][1] == "rename"
    )
    assert cut.lives == ["killed", "done"]


def test_a_full_disk_stops_the_run_with_a_reason_and_it_goes_on_later(playing, problems) -> None:
    schedule = Schedule(1, (Full(HUB, 40, 3),))
    history = playing(schedule)
    assert any("cannot write its files" in life for life in history.lives)
    assert history.lives[-1] == "done"
    assert not problems(schedule)


def test_a_disk_that_is_full_when_a_run_begins_is_a_reason_too(playing) -> None:
    """Found by a schedule: what was written before the first round raised a bare error."""
    for at in range(3, 10):
        assert not [
            life for life in playing(Schedule(1, (Full(HUB, at, 1),))).lives if "crashed" in life
        ]


def test_rounds_below_the_quorum_are_void_and_the_run_says_why_it_stops(playing, problems) -> None:
    gone = tuple(Offline(site, 1, 99) for site in ("east", "north"))
    history = playing(Schedule(1, gone))
    assert "spare rounds are used up" in history.lives[-1]
    assert not read(history).changing
    assert not problems(Schedule(1, gone))


def test_a_damaged_checkpoint_is_mended_and_said_loudly(playing, problems) -> None:
    schedule = Schedule(1, (Damage("model", 2, "flip"),))
    kinds = [event["kind"] for event in read(playing(schedule)).events]
    assert kinds.count("checkpoint-damaged") == kinds.count("checkpoint-mended") == 1
    assert not problems(schedule)


def test_a_held_round_leaves_the_model_and_its_number(playing, problems) -> None:
    schedule = Schedule(2, (Harm(2),))
    left = read(playing(schedule))
    assert [event["round"] for event in left.kinds("held")] == [2]
    assert left.parents == {1: 0, 2: 1, 3: 1}
    assert not problems(schedule)


def test_a_person_sets_the_model_back_between_two_lives(playing, problems) -> None:
    schedule = Schedule(1, (Rollback(2, 2),))
    history = playing(schedule)
    assert history.lives == ["killed", "done"]
    assert read(history).parents == {1: 0, 2: 1, 3: 0}
    assert not problems(schedule)


def test_a_late_update_is_folded_in_the_round_after_its_own(playing, problems) -> None:
    schedule = Schedule(2, (Answered("east", 1, BUSY),))
    left = read(playing(schedule))
    assert left.carried(2).keys() == {"east"}
    assert "east" not in left.accepted(1)
    assert not problems(schedule)


def test_a_failing_schedule_shrinks_to_the_event_that_matters() -> None:
    drawn = draw(next(s for s in range(999) if len(draw(s).events) == 6))
    culprit = Kill(HUB, 7, power=True)
    schedule = replace(drawn, events=(*drawn.events[:3], culprit, *drawn.events[3:]))

    def fails(tried: Schedule) -> bool:
        return any(isinstance(event, Kill) and event.at == 7 for event in tried.events)

    assert shrink(schedule, fails) == Schedule(drawn.seed, (Kill(HUB, 7),))


def test_a_schedule_that_needs_two_events_keeps_both() -> None:
    both = (Offline("east", 1, 2), Full(HUB, 9, 1))
    schedule = Schedule(3, (Kill("west", 4), both[0], Kill(HUB, 8), Kill(HUB, 9), both[1]))
    assert shrink(schedule, lambda tried: set(both) <= set(tried.events)).events == both


def test_a_printed_schedule_can_be_pasted() -> None:
    for seed in range(50):
        assert eval(text(draw(seed)), vars(events)) == draw(seed)  # noqa: S307  # our own text
