"""Windows of all sites as rows of the tables ``shifts``, ``alarms`` and ``actions``.

Which windows there are and what they released comes from ``windows``; what a reading means is
``fedrad.shift``'s business. A channel that a window could not carry has no row: what was not
measured is never a zero. Which sites alarm is decided over all of them together: a sum's
threshold is that at which the false discovery rate over sites is the stated one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aggregator.tables import Alarm, Shift, Table
from fedrad.errors import DataError
from fedrad.shift import alarms
from fedrad.shift.alarms import Judgement, Note
from fedrad.shift.blocks import Layout
from fedrad.shift.cusum import thresholds
from fedrad.shift.estimates import CHANNELS, View, views
from fedrad.shift.evidence import moved
from fedrad.shift.reference import WINDOWS, Reference, reference_of, single
from fedrad.shift.statistics import (
    Reading,
    benjamini_hochberg,
    between_sites,
    distance,
    middle,
    readings,
)
from fedrad.shift.windows import Released, large_enough, patients, together

AS_BEFORE = 0.05  # p value from which a channel is said to be as before
SPOKEN = {
    "image": "images",
    "acquisition": "tags of the machine",
    "label": "share of positives",
    "concept": "scores within a label",
    "population": "sex and age",
}
Key = tuple[str, str]  # channel, part


@dataclass(frozen=True, slots=True)
class History:
    """One site's windows after its reference, as they were read."""

    names: tuple[str, ...]  # first days, in order
    found: tuple[dict[str, Reading], ...]
    seen: tuple[dict[Key, View], ...]
    references: tuple[Reference, ...]  # one for each kind of release
    told: tuple[tuple[Released, ...], ...]  # of each kind the windows after its reference
    larger: tuple[float, ...]  # of each kind patients of these over those of its first windows

    @property
    def before(self) -> dict[Key, View]:
        """What each part was like in the reference."""
        return {key: one for r in self.references for key, (one, _) in r.parts.items()}

    def judged(self, share: float) -> Judgement:
        """Return what is said of the site at a share of the stated false alarms."""
        found: dict[str, float] = {}
        for reference, larger in zip(self.references, self.larger, strict=True):
            found |= thresholds(reference, windows=WINDOWS, share=share, larger=larger)
        return alarms.judge(self.found, found)

    def since(self, first: int, last: int) -> tuple[tuple[Released, Reference], ...]:
        """Return the windows from ``first`` to ``last``, pooled, beside their reference."""
        between = self.names[first], self.names[last]
        found = []
        for windows, reference in zip(self.told, self.references, strict=True):
            kept = [one for one in windows if between[0] <= one.windows[0] <= between[1]]
            if kept:
                found.append((together(kept), reference))
        return tuple(found)


def history_of(site: str, kinds: Sequence[Sequence[Released]], layout: Layout) -> History | None:
    """Read one site's windows against its own first ones.

    Args:
        site: Its name in the run.
        kinds: Its windows in order, each kind of release by itself; too small ones are joined
            with the next.
        layout: What is public about their blocks.

    Returns:
        ``None`` while no kind has more windows than its reference needs.

    Raises:
        DataError: Windows are out of order or twice, or the reference has too few patients.
        ProtocolError: A block does not fit the layout.
    """
    found: dict[str, dict[str, Reading]] = {}
    seen: dict[str, dict[Key, View]] = {}
    references, told, larger = [], [], []
    for releases in kinds:
        _refuse_disorder(site, releases)
        windows = large_enough(releases)
        if len(windows) > WINDOWS:
            before = reference_of(windows[:WINDOWS], layout)
            references.append(before)
            told.append(windows[WINDOWS:])
            larger.append(_mean(windows[WINDOWS:]) / _mean(windows[:WINDOWS]))
            for window in windows[WINDOWS:]:
                name = window.windows[0]
                found.setdefault(name, {}).update(readings(window, before, layout))
                own = {(view.channel, view.part): view for view in views(window, layout)}
                seen.setdefault(name, {}).update(own)
    names = tuple(sorted(found))
    if not names:
        return None
    return History(
        names,
        tuple(found[name] for name in names),
        tuple(seen[name] for name in names),
        tuple(references),
        tuple(told),
        tuple(larger),
    )


def judged(histories: Mapping[str, History]) -> dict[str, Judgement]:
    """Return what is said of every site, the false discovery rate over sites held.

    With S sites and k of them over the thresholds of k / S of the stated share, those k are
    taken, for the largest such k (the step-up rule [1] on whole paths). Where no k holds,
    every site is judged at 1 / S, and none alarms.

    References:
        [1] Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS-B 57, 1995.
    """
    sites = len(histories)
    for k in range(sites, 0, -1):
        found = {site: own.judged(k / sites) for site, own in histories.items()}
        if sum(bool(one.alarms) for one in found.values()) >= k or k == 1:
            return found
    return {}


def rows(histories: Mapping[str, History]) -> tuple[list[Table], dict[str, tuple[Note, ...]]]:
    """Return the rows of all sites, and each site's notes."""
    found: list[Table] = []
    notes: dict[str, tuple[Note, ...]] = {}
    for site, said in judged(histories).items():
        found += _shifts(site, histories[site], said)
        found += _alarms(site, histories[site], said)
        notes[site] = said.notes
    return found, notes


def standing(records: Mapping[str, Released], layout: Layout, name: str) -> list[Shift]:
    """Return how each site differs from the others before any window: rows, never alarms.

    Args:
        records: What each site released of that time; too small ones say nothing.
        layout: As for ``history_of``.
        name: What the column ``window`` says of them.

    Returns:
        Rows whose p value is adjusted over sites (Benjamini and Hochberg) and which have no
        sum; none with fewer than two sites.
    """
    known = {site: single(record, layout) for site, record in records.items()}
    references = {site: one for site, one in known.items() if one is not None}
    found = []
    for channel in CHANNELS:
        between = between_sites(references, channel) if len(references) > 1 else {}
        adjusted = benjamini_hochberg({site: p for site, (_, p) in between.items()})
        for site, (statistic, _) in between.items():
            reading = Reading(channel, "", statistic, adjusted[site])
            found.append(
                Shift(window=name, site=site, channel=channel, statistic=statistic, z=reading.z,
                      p=reading.p, cusum=None, threshold=None)
            )  # fmt: skip
    return found


def apart(records: Mapping[str, Released], layout: Layout, site: str, channel: str) -> str:
    """Return in words how a site differs from the others' middle in one channel."""
    known = {name: single(record, layout) for name, record in records.items()}
    own = known[site]
    others = [one for name, one in known.items() if one is not None and name != site]
    if own is None or not others:
        return ""
    parts = {}
    for key, (view, spread) in own.parts.items():
        if key[0] == channel and all(key in one.parts for one in others):
            rest = middle([one.parts[key][0] for one in others])
            parts[distance(view, rest, spread)[1]] = moved(view, rest)
    said = parts[min(parts)] if parts else ""
    return said.replace(" before", " elsewhere").replace(" now", " here")


def _mean(windows: Sequence[Released]) -> float:
    """Return the noised number of patients of a window in the mean, one at least."""
    return max(1.0, sum(patients(window) for window in windows) / len(windows))


def _refuse_disorder(site: str, releases: Sequence[Released]) -> None:
    names = [name for release in releases for name in release.windows]
    if names != sorted(set(names)):
        raise DataError(
            f"the windows of {site} are out of order or twice: a release that was sent again "
            "must be left out"
        )


def _shifts(site: str, own: History, judgement: Judgement) -> Iterator[Shift]:
    for number, (name, window) in enumerate(zip(own.names, own.found, strict=True)):
        for channel, reading in window.items():
            path = judgement.paths[channel]
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


def _alarms(site: str, own: History, judgement: Judgement) -> Iterator[Alarm]:
    for alarm in judgement.alarms:
        yield Alarm(
            window=own.names[alarm.window],
            site=site,
            channel=alarm.channel,
            kind=alarm.kind,
            since_window=own.names[alarm.since],
            posterior=None,
            evidence=_evidence(alarm, own, judgement),
        )


def _evidence(alarm: alarms.Alarm, own: History, judgement: Judgement) -> str:
    """Return one sentence: what moved and how far, what else moved, what did not."""
    window, path = own.found[alarm.window], judgement.paths[alarm.channel]
    parts = [_moved(own, alarm.window, alarm.channel)]
    if alarm.kind != alarm.channel:
        parts.append(_moved(own, alarm.window, alarm.kind))
    others = [name for name in window if name not in (alarm.channel, alarm.kind)]
    same = [SPOKEN[name] for name in others if window[name].p >= AS_BEFORE]
    also = [SPOKEN[name] for name in others if window[name].p < AS_BEFORE]
    parts += [f"also other than before: {', '.join(also)}"] if also else []
    parts += [f"as before: {', '.join(same)}"] if same else []
    value = path.values[alarm.window]
    parts.append(f"sum {value:.1f} over the threshold of {path.threshold:.1f}")
    return "; ".join(part for part in parts if part)


def _moved(own: History, number: int, channel: str) -> str:
    """Say what moved in a channel: of tags each that did, the one that stands out first."""
    reading = own.found[number].get(channel)
    if reading is None:
        return ""
    keys = [key for key in own.seen[number] if key[0] == channel and key in own.before]
    keys.sort(key=lambda key: key[1] != reading.part)
    said = [moved(own.seen[number][key], own.before[key]) for key in keys]
    named = "; ".join(one for one in said if one)
    return f"{SPOKEN[channel]}: {named or 'moved in many small ways'}"
