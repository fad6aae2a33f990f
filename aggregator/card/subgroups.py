"""What a model card says of subgroups: what windows released, over all hospitals at once."""

from __future__ import annotations

import math
from typing import Any

from aggregator.run_folder import Run
from aggregator.shift_panels import subgroups_of
from fedrad.metrics.metric import shown_count


def released(run: Run, number: int) -> list[dict[str, Any]]:
    """Return what the windows of a round's model say of subgroups; null: not estimable."""
    return [
        {
            "subgroup": one.name,
            "patients": shown_count(one.patients),
            **{
                name: {end: _finite(getattr(found, end)) for end in ("value", "lo", "hi")}
                for name, found in (
                    ("sensitivity", one.sensitivity),
                    ("specificity", one.specificity),
                )
            },
        }
        for one in subgroups_of(run, number)
    ]


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
