"""Twenty mistakes are planted in the real programs, one at a time; the checker sees each."""

from __future__ import annotations

import pytest
from defects import DEFECTS, Defect

from simulations.faults.events import draw
from simulations.faults.invariants import check
from simulations.faults.shrink import shrink

MOST = 500


def broken(playing, defect: Defect, schedule) -> tuple[str, ...]:
    with defect.planted():
        history = playing(schedule)
    return check(history)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_seen_and_without_it_the_schedule_is_good(
    playing, problems, defect: Defect
) -> None:
    seen = next(tried for tried in defect.shown_by if broken(playing, defect, tried))
    said = " ".join(broken(playing, defect, seen))
    assert any(promise in said for promise in defect.promise.split()), said
    assert not problems(seen)


@pytest.mark.long
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_seen_within_five_hundred_schedules(playing, defect: Defect) -> None:
    assert any(broken(playing, defect, draw(seed)) for seed in range(1, MOST + 1))


def test_the_smallest_schedule_of_a_defect_says_what_matters(playing) -> None:
    defect = next(defect for defect in DEFECTS if defect.name.startswith("reply accepted"))
    schedule = defect.shown_by[0]
    small = shrink(schedule, lambda tried: bool(broken(playing, defect, tried)))
    assert [event.how for event in small.events] == ["replay"]
    assert len(schedule.events) > 1
