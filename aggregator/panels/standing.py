"""How hospitals differ from one another before any window: who most, in what, by how much.

The words are those of ``judging``'s last look, the distances rows of ``shifts``; neither is an
alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aggregator.run_folder import Row, Run
from fedrad.shift.agreed import RECORD

APART, FURTHEST = (
    "stands apart",
    "stands furthest apart",
)  # how ``judging`` begins; the first
SMALLEST_P = 1e-6  # below it a p value is a tail that no model of patients holds for


def sentences(run: Run, found: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield one sentence for each site and channel that stands apart, the furthest first.

    Args:
        run: Its rows.
        found: What stands apart: ``site``, ``channel`` and what is ``said`` of it.
    """
    rows = {(r["site"], r["channel"]): r for r in run.tables["shifts"] if r["window"] == RECORD}
    told = len({site for site, _ in rows})
    known = [(one, rows.get((one["site"], one["channel"]))) for one in found]
    known.sort(key=lambda pair: -float(pair[1]["statistic"]) if pair[1] else 0.0)
    for place, (one, row) in enumerate(known):
        said = f"{run.full_name(one['site'])} {one['said']}{_distance(row)}"
        if row and not place:
            said = f"Of the {told} hospitals that told it {said}".replace(APART, FURTHEST, 1)
        yield said


def _distance(row: Row | None) -> str:
    """Return how far a site is from the others in words; empty where no row says."""
    if row is None or row["p"] is None:
        return ""
    p = f"= {row['p']:.1g}" if row["p"] >= SMALLEST_P else f"under {SMALLEST_P:.6f}"
    return f"; squared distance {row['statistic']:.0f}, p {p}"
