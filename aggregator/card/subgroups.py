"""What a model card says of subgroups: what windows released, over all hospitals at once."""

from __future__ import annotations

import math
from typing import Any

from aggregator.run_folder import Run
from aggregator.shift_panels import subgroups_of


def released(run: Run) -> list[dict[str, Any]]:
    """Return what the windows say of subgroups, over all hospitals; null: not estimable."""
    return [
        {
            "subgroup": one.name,
            "patients": round(max(one.patients, 0.0)),
            **{
                name: {end: _finite(getattr(found, end)) for end in ("value", "lo", "hi")}
                for name, found in (
                    ("sensitivity", one.sensitivity),
                    ("specificity", one.specificity),
                )
            },
        }
        for one in subgroups_of(run)
    ]


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
