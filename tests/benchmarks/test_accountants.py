"""Our epsilon against another accountant's, over the range of epsilons that is promised."""

from __future__ import annotations

import pytest
from accountants import EPSILONS, GOAL, SCHEDULES, Row, compare


def judge(row: Row) -> None:
    """Within one percent of PRV, never more than PRV's own error below, and under Rényi's bound."""
    assert abs(row.apart) < GOAL
    assert row.pld > row.prv - 0.002
    assert row.pld < row.rdp


@pytest.mark.filterwarnings("ignore:Optimal order")
@pytest.mark.parametrize(
    ("epsilon", "q", "steps"),
    [(0.5, 0.1, 200), (10.0, 0.1, 60), (0.5, 0.005, 4000), (1.0, 0.5, 20)],
)
def test_epsilon_is_within_one_percent_of_prv(epsilon: float, q: float, steps: int) -> None:
    """At few draws and many steps, steps of the loss chosen by the noise alone gave 4.6 %."""
    judge(compare(epsilon, q, steps))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Optimal order")
@pytest.mark.parametrize(("q", "steps"), SCHEDULES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_epsilon_is_within_one_percent_of_prv_on_the_whole_grid(
    epsilon: float, q: float, steps: int
) -> None:
    judge(compare(epsilon, q, steps))
