"""What patients paid in each stream, beside what the task grants: bars and one sentence.

Training, audit and window patients are different people; the longest bar of a site is what its most
exposed patient paid. Epsilons are those of ``paid``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.paid import Paid
from aggregator.run_folder import Run

STREAMS = {
    "train": "training",
    "audit": "audit",
    "window": "window",
    "test": "test",
    "other": "other",
}
NAMES, WIDTH, ROW = 128.0, 220.0, 15.0  # of the drawing: names, bars at the task's epsilon, a line


@dataclass(frozen=True, slots=True)
class Bar:
    """One stream of one site."""

    site: str  # empty below the site's first bar
    stream: str
    epsilon: float
    width: float


@dataclass(frozen=True, slots=True)
class Budget:
    """All bars, where the limit is drawn, and the sentence."""

    bars: tuple[Bar, ...]
    limit: float  # the task's epsilon
    at: float
    sentence: str


def budget(run: Run, spent: Sequence[Paid]) -> Budget | None:
    """Return the drawing; ``None`` where no stream has a finite epsilon or no task is known."""
    if run.task is None or not run.task.privacy.enabled:
        return None
    limit = run.task.privacy.epsilon
    found = [(p, name, e) for p in spent for name, e in p.streams.items() if math.isfinite(e)]
    if not found:
        return None
    most = max(limit, *(epsilon for _, _, epsilon in found))
    bars, last = [], ""
    for paid, name, epsilon in found:
        site = "" if paid.site == last else run.label(paid.site)
        last = paid.site
        bars.append(Bar(site, STREAMS.get(name, name), epsilon, round(WIDTH * epsilon / most, 1)))
    return Budget(tuple(bars), limit, round(WIDTH * limit / most, 1), _sentence(run, found, limit))


def _sentence(run: Run, found: Sequence[tuple[Paid, str, float]], limit: float) -> str:
    paid, name, epsilon = max(found, key=lambda one: one[2])
    share = math.ceil(100 * epsilon / limit - 1e-9)
    return (
        f"Most was paid by a {STREAMS.get(name, name)} patient of {run.full_name(paid.site)}: "
        f"{share} % of the epsilon of {limit:g} that the task grants."
    )
