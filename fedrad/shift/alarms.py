"""From readings over windows to alarms: which channel, since when, and what is only a note.

What a change of tags means depends on the images: a scanner that was only renamed leaves them
as they are. And what a change of labels or scores means can be said only while the images are
as before. So tags alone make a note, and labels and scores are not added up in windows in which
images or tags stand out, and wait while their sums are high. Statistics are
``statistics``' business and sums over windows ``cusum``'s; here are the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedrad.shift.cusum import Path, drift_of, path
from fedrad.shift.statistics import Reading

BAD_WINDOW = 1e-3  # p value under which one window is worth a note
LOUD = 0.01  # p value of images or tags under which labels and scores of a window are not read
_RULED_BY_IMAGES = ("label", "concept")
_TAGS = "acquisition"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A channel's sum passed its threshold.

    ``window`` is the place of the window in which it did, ``since`` of the one with which the
    rise began. ``kind`` is ``acquisition`` where tags moved with the images.
    """

    channel: str
    kind: str
    window: int
    since: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know that is no alarm."""

    channel: str
    window: int
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is said of a site's windows; ``paths`` are the sums behind it."""

    alarms: tuple[Alarm, ...]
    notes: tuple[Note, ...]
    paths: dict[str, Path]


def judge(windows: Sequence[Mapping[str, Reading]], thresholds: Mapping[str, float]) -> Judgement:
    """Return the first alarm of each channel, and notes.

    Args:
        windows: The readings of each window in order, the reference's own left out.
        thresholds: From ``cusum.thresholds``.
    """
    paths = {
        channel: path(
            [_z(window, channel) for window in windows], threshold, drift=drift_of(channel)
        )
        for channel, threshold in thresholds.items()
    }
    found = [_first(channel, paths, len(windows)) for channel in paths if channel != _TAGS]
    alarms = tuple(alarm for alarm in found if alarm is not None)
    notes = (
        *_bad_windows(windows),
        *_tags_alone(paths, len(windows)),
        *_unjudged(windows, paths, alarms),
    )
    return Judgement(alarms, notes, paths)


def _first(channel: str, paths: Mapping[str, Path], windows: int) -> Alarm | None:
    """Return the first window in which a channel may alarm."""
    for number in range(windows):
        ruled = channel in _RULED_BY_IMAGES and _loud(paths, number)
        if paths[channel].over(number) and not ruled:
            tags = channel == "image" and _TAGS in paths and paths[_TAGS].risen(number)
            since = paths[channel].since[number]
            return Alarm(channel, _TAGS if tags else channel, number, since or 0)
    return None


def _loud(paths: Mapping[str, Path], number: int) -> bool:
    """Whether images or tags have moved by this window, or are about to."""
    return any(paths[name].risen(number) for name in ("image", _TAGS) if name in paths)


def _bad_windows(windows: Sequence[Mapping[str, Reading]]) -> Iterator[Note]:
    for number, window in enumerate(windows):
        for channel, reading in window.items():
            if reading.p < BAD_WINDOW:
                yield Note(channel, number, f"{reading.part} is far from the reference")


def _tags_alone(paths: Mapping[str, Path], windows: int) -> Iterator[Note]:
    moved = [number for number in range(windows) if _TAGS in paths and paths[_TAGS].over(number)]
    if moved and not ("image" in paths and paths["image"].risen(moved[0])):
        yield Note(_TAGS, moved[0], "tags changed and images did not")


def _unjudged(
    windows: Sequence[Mapping[str, Reading]], paths: Mapping[str, Path], alarms: Sequence[Alarm]
) -> Iterator[Note]:
    """Yield the first window in which labels or scores stood out and images or tags did too."""
    for channel in _RULED_BY_IMAGES:
        if any(alarm.channel == channel for alarm in alarms):
            continue
        for number, window in enumerate(windows):
            stands_out = channel in window and window[channel].p < LOUD
            passed = channel in paths and paths[channel].over(number)
            if (stands_out and _stands_out(window)) or passed:
                yield Note(channel, number, "not judged: the images changed too")
                break


def _stands_out(window: Mapping[str, Reading]) -> bool:
    return any(name in window and window[name].p < LOUD for name in ("image", _TAGS))


def _z(window: Mapping[str, Reading], channel: str) -> float:
    if channel not in window or (channel in _RULED_BY_IMAGES and _stands_out(window)):
        return math.nan
    return window[channel].z
