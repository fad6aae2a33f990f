"""Budget by stream: what each stream's patients paid beside what the task grants."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from invented_outcomes import TASK

from aggregator.paid import Paid
from aggregator.panels.budget import budget


def paid(site: str, **streams: float) -> Paid:
    return Paid(site=site, streams=streams, steps=9, delta=1e-5, epsilon=None, attack=None)


def test_the_most_exposed_patient_is_named_and_bars_are_to_scale(make_run: Any) -> None:
    run = replace(make_run(), task=TASK)
    found = budget(run, [paid("north", train=4.0, window=8.0), paid("south", audit=2.0)])
    assert found is not None
    assert [(bar.site, bar.stream) for bar in found.bars] == [
        ("Hospital A", "training"), ("", "window"), ("Hospital B", "audit"),
    ]  # fmt: skip
    assert found.bars[0].width == found.bars[1].width / 2 == 2 * found.bars[2].width
    assert found.at == found.bars[1].width
    assert found.sentence == (
        "Most was paid by a window patient of Hospital A (north): 100 % of the epsilon of 8 that "
        "the task grants."
    )


def test_nothing_is_drawn_where_nothing_finite_was_paid(make_run: Any) -> None:
    assert budget(make_run(), [paid("north", train=1.0)]) is None
    assert budget(replace(make_run(), task=TASK), [paid("north", audit=math.inf)]) is None
