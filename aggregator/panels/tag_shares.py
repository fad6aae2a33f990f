"""What hospitals' machines and patients were over time: shares of public cells, with their noise.

Each site's first windows together against its last, and every window as a small line. Words of a
machine and sex and age are cells of a public vocabulary; free text never left a site. Whether a
change is an alarm is not decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.run_folder import Run
from fedrad.metrics.metric import Z
from fedrad.shift.agreed import RECORD
from fedrad.shift.blocks import Layout
from fedrad.shift.estimates import View, views
from fedrad.shift.reference import WINDOWS
from fedrad.shift.tags import cells_of
from fedrad.shift.windows import Released, together

SHOWN = 0.02  # a cell is shown where its share is surely above this in the first or last windows
DEVIATIONS = 3.0  # by how many of its own a share has moved
WIDTH, HEIGHT = 120.0, 22.0  # of a small line
MOST_NAMED = 4  # changes in the sentence
CHANNELS = ("acquisition", "population")
Key = tuple[str, str]  # channel, tag


@dataclass(frozen=True, slots=True)
class Share:
    """One cell of one tag: its share in the first windows and in the last, each with deviation."""

    tag: str
    cell: str
    before: float
    before_deviation: float
    last: float | None  # None: there is one release only
    last_deviation: float
    line: str  # points of all windows

    @property
    def moved(self) -> bool:
        """Whether the last window differs from the first by more than noise and chance do."""
        if self.last is None:
            return False
        deviation = math.hypot(self.before_deviation, self.last_deviation)
        return abs(self.last - self.before) > DEVIATIONS * deviation


@dataclass(frozen=True, slots=True)
class SiteShares:
    """The cells of one site that hold anybody much, and which windows they are of."""

    site: str
    title: str
    when: str
    shares: tuple[Share, ...]


def site_shares(
    run: Run, told: Mapping[str, Sequence[Released]], layout: Layout
) -> tuple[SiteShares, ...]:
    """Return one table for each site whose releases can be read, in reader's order.

    Args:
        run: For the names of its sites.
        told: Each site's releases with tags, in order of their windows.
        layout: What is public about their blocks.
    """
    found = (_of_site(run, site, told[site], layout) for site in run.sites if told.get(site))
    return tuple(one for one in found if one.shares)


def headline(found: Sequence[SiteShares]) -> str:
    """Return one sentence about all sites; empty where there is none."""
    if not found:
        return ""
    if all(share.last is None for one in found for share in one.shares):
        return "Nothing can have moved yet: each hospital told one release."
    moved = [(one.title, share) for one in found for share in one.shares if share.moved]
    if not moved:
        return (
            "No share of a machine's tags, of sex or of age moved by more than chance and noise "
            "do between the first windows and the last."
        )
    moved.sort(key=lambda pair: -abs((pair[1].last or 0.0) - pair[1].before))
    named = [
        f"{title}, {share.tag} {share.cell}: {_percent(share.before)} to {_percent(share.last)} %"
        for title, share in moved[:MOST_NAMED]
    ]
    rest = f"; {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else ""
    return f"Moved between the first windows and the last: {'; '.join(named)}{rest}."


def _of_site(run: Run, site: str, told: Sequence[Released], layout: Layout) -> SiteShares:
    windows = [one for one in told if RECORD not in one.windows]
    first = together(windows[:WINDOWS]) if len(windows) > WINDOWS else told[0]
    last = windows[-1] if len(windows) > WINDOWS else told[-1] if len(told) > 1 else None
    whole = _seen(first, layout)
    now = {} if last is None else _seen(last, layout)
    each = [_seen(one, layout) for one in told]
    shares = tuple(
        share
        for key, view in whole.items()
        for share in _cells(view, now.get(key), [one[key] for one in each if key in one])
    )
    when = (
        f"{first.windows[0]} to {first.windows[-1]}" if len(first.windows) > 1 else first.windows[0]
    )
    return SiteShares(
        site, run.label(site), f"{when}{f'; last {last.windows[-1]}' if last else ''}", shares
    )


def _seen(released: Released, layout: Layout) -> dict[Key, View]:
    return {(v.channel, v.part): v for v in views(released, layout) if v.channel in CHANNELS}


def _cells(view: View, now: View | None, each: Sequence[View]) -> Iterator[Share]:
    """Yield the cells that hold somebody, beyond noise, in the first windows or the last."""
    for place, cell in enumerate(cells_of(view.part)):
        before, last = _share(view, place), None if now is None else _share(now, place)
        sure = before - Z * _deviation(view, place)
        if now is not None and last is not None:
            sure = max(sure, last - Z * _deviation(now, place))
        if sure < SHOWN:
            continue
        yield Share(
            tag=view.part,
            cell=cell,
            before=before,
            before_deviation=_deviation(view, place),
            last=last,
            last_deviation=0.0 if now is None else _deviation(now, place),
            line=_line([_share(one, place) for one in each]),
        )


def _share(view: View, place: int) -> float:
    return float(np.clip(view.values[place], 0.0, 1.0))


def _deviation(view: View, place: int) -> float:
    """Return the deviation of a share: of patients, multinomial, and of noise."""
    share = min(max(_share(view, place), 0.01), 0.99)
    patients = share * (1 - share) / max(float(view.counts[place]), 1.0)
    return math.sqrt(patients + float(view.noise[place, place]))


def _line(shares: Sequence[float]) -> str:
    step = WIDTH / max(len(shares) - 1, 1)
    points = enumerate(shares) if len(shares) > 1 else [(0, shares[0]), (1, shares[0])]
    wide = step if len(shares) > 1 else WIDTH
    return " ".join(f"{wide * place:.1f},{HEIGHT * (1 - share):.1f}" for place, share in points)


def _percent(share: float | None) -> int:
    return round(100 * (share or 0.0))
