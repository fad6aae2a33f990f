"""The numbers of docs/privacy.md are those of the code."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from fedrad.privacy.accounting import Event, attack_within, best_attack, plan_sigma

PAGE = (Path(__file__).parents[1] / "docs" / "privacy.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (\d+) % \| (\d+) % \| (\d+) % \|$", re.MULTILINE)
DELTA, Q, STEPS = 1e-5, 0.5, 60


def up(share: float) -> int:
    """A share in whole percent, rounded against us, as the report does."""
    return math.ceil(share * 100 - 1e-9)


def test_the_table_is_what_the_code_computes() -> None:
    rows = [tuple(map(int, row)) for row in ROW.findall(PAGE)]
    assert [row[0] for row in rows] == [1, 2, 4, 8]
    assert "60 steps, each patient drawn\nwith chance 0.5" in PAGE
    for target, *printed in rows:
        sigma = plan_sigma(epsilon=target, delta=DELTA, q=Q, steps=STEPS)
        event = Event(mechanism="subsampled-gaussian", sigma=sigma, q=Q, steps=STEPS)
        assert printed == [up(best_attack([event] * hospitals)) for hospitals in (1, 2, 3)]


@pytest.mark.parametrize(("epsilon", "printed"), [(1, "3 %"), (2, "8 %"), (4, "55 %")])
def test_what_a_limit_alone_promises_is_printed(epsilon: int, printed: str) -> None:
    sentence = re.search(r"Once later contracts.*?that row\.", PAGE, re.DOTALL)
    assert sentence is not None
    text = " ".join(sentence.group().split())
    assert f"{up(attack_within(epsilon, DELTA))} %" == printed
    assert printed + (" at epsilon 1" if epsilon == 1 else f" at {epsilon}") in text
    assert f"({100 * attack_within(8, DELTA):.2f} %)" in text
