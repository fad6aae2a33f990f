"""The numbers of docs/privacy.md are those of the code."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_study import tiny_task

from fedrad.feasibility.cells import event, layout, sums
from fedrad.metrics.metric import Z
from fedrad.privacy.accounting import Event, attack_within, best_attack, plan_sigma
from fedrad.privacy.caps import Cap
from fedrad.site_report import FEASIBILITY, deviation

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


RECORD = re.compile(
    r"^\| ([\d.]+) \| ([\d.]+) \| ±(\d+) \| ±(\d+) \| ±(\d+) \| (\d+) % \| ([\d.]+) \|$",
    re.MULTILINE,
)


def test_what_a_feasibility_record_costs_and_tells_is_what_the_code_computes() -> None:
    rows = [tuple(map(float, row)) for row in RECORD.findall(PAGE)]
    assert [row[0] for row in rows] == [0.25, 0.5, 1, 2]
    sigma = plan_sigma(epsilon=8, delta=DELTA, q=Q, steps=STEPS)
    study = Event(mechanism="subsampled-gaussian", sigma=sigma, q=Q, steps=STEPS)
    for target, *printed in rows:
        noise = plan_sigma(epsilon=target, delta=DELTA, q=1, steps=1)
        cells = layout(tiny_task())
        exact = sums(tiny_task(), {name: np.zeros(0, np.int64) for name in cells})
        halves = [Z * deviation(b, sigma=noise, share=FEASIBILITY[b.name]) for b in exact]
        together = Cap(epsilon=9.0, delta=DELTA, first=event(noise)).used([event(noise), study])
        assert printed == [
            noise,
            round(halves[0] * math.sqrt(2)),
            round(halves[0] * math.sqrt(9)),
            round(halves[1]),
            up(best_attack([event(noise)])),
            round(together, 2),
        ]
        assert halves[1] == halves[2]
