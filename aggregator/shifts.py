"""A site's windows as rows of the tables ``shifts`` and ``alarms``.

Which windows there are and what they released comes from whoever collected them; what a reading
means is ``fedrad.shift``'s business. A channel that a window could not carry has no row: what
was not measured is never a zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aggregator.tables import Alarm, Shift, Table
from fedrad.errors import DataError
from fedrad.shift import alarms
from fedrad.shift.alarms import Judgement
from fedrad.shift.blocks import Layout
from fedrad.shift.cusum import thresholds
from fedrad.shift.reference import WINDOWS, reference_of
from fedrad.shift.statistics import Reading, readings
from fedrad.shift.windows import Released, large_enough

AS_BEFORE = 0.05  # p value from which a channel is said to be as before
SPOKEN = {
    "image": "images",
    "acquisition": "tags of the machine",
    "label": "share of positives",
    "concept": "scores within a label",
    "population": "sex and age",
}


def shift_rows(site: str, releases: Sequence[Released], layout: Layout) -> list[Table]:
    """Return the rows of one site, those of all windows after its reference.

    Args:
        site: Its name in the run.
        releases: Its windows in order, of one kind; too small ones are joined with the next.
        layout: What is public about their blocks.

    Returns:
        No row while there are not more windows than the reference needs. A row is named after
        the first day of its window.

    Raises:
        DataError: Windows are out of order or twice, or the reference has too few patients.
        ProtocolError: A block does not fit the layout.
    """
    _refuse_disorder(site, releases)
    windows = large_enough(releases)
    if len(windows) <= WINDOWS:
        return []
    before = reference_of(windows[:WINDOWS], layout)
    later = windows[WINDOWS:]
    found = [readings(window, before, layout) for window in later]
    judged = alarms.judge(found, thresholds(before, windows=WINDOWS))
    names = [window.windows[0] for window in later]
    return [*_shifts(site, names, found, judged), *_alarms(site, names, found, judged)]


def _refuse_disorder(site: str, releases: Sequence[Released]) -> None:
    names = [name for release in releases for name in release.windows]
    if names != sorted(set(names)):
        raise DataError(
            f"the windows of {site} are out of order or twice: a release that was sent again "
            "must be left out"
        )


def _shifts(
    site: str, names: Sequence[str], found: Sequence[Mapping[str, Reading]], judged: Judgement
) -> Iterator[Shift]:
    for number, (name, window) in enumerate(zip(names, found, strict=True)):
        for channel, reading in window.items():
            path = judged.paths[channel]
            yield Shift(
                window=name,
                site=site,
                channel=channel,
                statistic=reading.statistic,
                z=reading.z,
                p=reading.p,
                cusum=float(path.values[number]),
                threshold=path.threshold,
            )


def _alarms(
    site: str, names: Sequence[str], found: Sequence[Mapping[str, Reading]], judged: Judgement
) -> Iterator[Alarm]:
    for alarm in judged.alarms:
        yield Alarm(
            window=names[alarm.window],
            site=site,
            channel=alarm.channel,
            kind=alarm.kind,
            since_window=names[alarm.since],
            posterior=None,
            evidence=_evidence(alarm, found[alarm.window], judged),
        )


def _evidence(alarm: alarms.Alarm, window: Mapping[str, Reading], judged: Judgement) -> str:
    path = judged.paths[alarm.channel]
    moved: list[str] = []
    same: list[str] = []
    for channel, reading in window.items():
        if channel != alarm.channel:
            (same if reading.p >= AS_BEFORE else moved).append(SPOKEN[channel])
    value = f"sum {path.values[alarm.window]:.1f} over the threshold of {path.threshold:.1f}"
    parts = [f"{SPOKEN[alarm.channel]}: {value}"]
    parts += [f"in this window also other than before: {', '.join(moved)}"] if moved else []
    parts += [f"as before: {', '.join(same)}"] if same else []
    return "; ".join(parts)
