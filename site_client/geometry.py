"""Where the slices of one series lie, and whether they make a volume: the rules of refusal.

The rules are highdicom's (one orientation, one size, one frame of reference, positions along
the normal, all different and evenly spaced; PS3.3 C.7.6.2) and one of our own: no slice may lie
half a voxel or more from its place on the grid. highdicom allows a gantry tilt of 2.5 degrees,
which moves the far end of a long scan by a centimetre. What does not fit is refused with its
numbers and never repaired. Pixels belong to ``volumes``; lengths are millimetres.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.spatial import get_volume_positions
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.instances import UnusableFileError

FEWEST_SLICES = 2
UNEVEN = 0.01  # of the median gap; a missing slice is 1
OFF_GRID = 0.5  # of a voxel: the nearest voxel would be another one
_TURNED = 1e-4  # between direction cosines of two slices
_NOT_UNIT = 1e-3  # of direction cosines: lengths and their product
_SAME_PLACE = 0.01  # of the median gap, or of a mm where that is 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in order along their normal."""

    order: tuple[int, ...]  # index of each slice among those given
    distance_mm: float  # between neighbours


def stack_of(slices: Sequence[Dataset]) -> Stack:
    """Order slices that make a volume, given in any order.

    Args:
        slices: Headers with one plane each.

    Raises:
        UnusableFileError: ``too-few-slices``, ``series-mixed``, ``position-missing``,
            ``orientation-invalid``, ``orientation-mixed``, ``slices-doubled``,
            ``gantry-tilt``, ``slices-shifted``, ``slices-missing``, ``spacing-uneven`` or
            ``series-geometry`` (highdicom alone objects); the detail has the numbers.
    """
    if len(slices) < FEWEST_SLICES:
        raise UnusableFileError("too-few-slices", f"{len(slices)} of at least {FEWEST_SLICES}")
    _refuse_unlike(slices)
    positions, orientation = _planes(slices)
    normal = np.cross(orientation[:3], orientation[3:])
    heights = positions @ normal
    gaps = _refuse_doubled(np.sort(heights))
    _refuse_leaning(positions, normal, min(map(float, slices[0].PixelSpacing)))
    _refuse_gaps(gaps, slices)
    return _ordered(positions, orientation)


def _refuse_unlike(slices: Sequence[Dataset]) -> None:
    sizes = Counter((int(one.Rows), int(one.Columns)) for one in slices)
    if len(sizes) > 1:
        raise UnusableFileError("series-mixed", f"sizes in pixels: {_counts(sizes)}")
    spacings = Counter(tuple(float(mm) for mm in one.get("PixelSpacing") or ()) for one in slices)
    if any(len(mm) != 2 or not all(0 < value < math.inf for value in mm) for mm in spacings):
        raise UnusableFileError("spacing-unknown", f"pixel spacing in mm: {_counts(spacings)}")
    if len(spacings) > 1:
        raise UnusableFileError("series-mixed", f"pixel spacing in mm: {_counts(spacings)}")
    for name in ("FrameOfReferenceUID", "PhotometricInterpretation", "Modality", "Units"):
        kinds = len({str(one.get(name) or "") for one in slices})
        if kinds > 1:
            raise UnusableFileError("series-mixed", f"{kinds} different values of {name}")


def _counts(found: Counter[tuple[int, int]] | Counter[tuple[float, ...]]) -> str:
    parts = (f"{'x'.join(f'{v:g}' for v in value)} ({n})" for value, n in found.most_common(4))
    return ", ".join(parts)


def _planes(slices: Sequence[Dataset]) -> tuple[Floats, Floats]:
    positions = [_numbers(one, "ImagePositionPatient", 3) for one in slices]
    turns = [_numbers(one, "ImageOrientationPatient", 6) for one in slices]
    absent = sum(p is None or t is None for p, t in zip(positions, turns, strict=True))
    if absent:
        raise UnusableFileError(
            "position-missing", f"{absent} of {len(slices)} slices do not say where they lie"
        )
    orientations = np.array(turns, np.float64)
    _refuse_invalid(orientations)
    _refuse_turned(orientations)
    return np.array(positions, np.float64), orientations[0]


def _numbers(one: Dataset, name: str, count: int) -> list[float] | None:
    found = [float(value) for value in one.get(name) or ()]
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def _refuse_invalid(orientations: Floats) -> None:
    rows, columns = orientations[:, :3], orientations[:, 3:]
    lengths = np.linalg.norm(np.concatenate([rows, columns]), axis=1)
    wrong = max(np.abs(lengths - 1).max(), np.abs((rows * columns).sum(axis=1)).max())
    if wrong > _NOT_UNIT:
        raise UnusableFileError(
            "orientation-invalid", f"direction cosines off by {wrong:.3g}, limit {_NOT_UNIT:g}"
        )


def _refuse_turned(orientations: Floats) -> None:
    other = np.abs(orientations - orientations[0]).max(axis=1) > _TURNED
    if not other.any():
        return
    normals = np.cross(orientations[:, :3], orientations[:, 3:])
    angle = math.degrees(np.arccos(np.clip(normals @ normals[0], -1, 1)).max())
    raise UnusableFileError(
        "orientation-mixed",
        f"{int(other.sum())} of {len(other)} slices lie otherwise than the first; "
        f"normals up to {angle:.1f} degrees apart",
    )


def _refuse_doubled(heights: Floats) -> Floats:
    gaps = np.diff(heights)
    limit = _SAME_PLACE * (float(np.median(gaps)) or 1.0)
    doubled = int((gaps < limit).sum())
    if doubled:
        raise UnusableFileError(
            "slices-doubled", f"{doubled} of {len(heights)} slices lie where another one lies"
        )
    return np.asarray(gaps, np.float64)


def _refuse_leaning(positions: Floats, normal: Floats, pixel_mm: float) -> None:
    """Refuse slices that do not lie one above the other, by how far they lie aside."""
    ordered = positions[np.argsort(positions @ normal)]
    spans = ordered - ordered[0]
    along = spans @ normal
    aside = spans - along[:, None] * normal
    farthest = float(np.linalg.norm(aside, axis=1).max())
    if farthest < OFF_GRID * pixel_mm:
        return
    slope = (along @ aside) / (along @ along)
    crooked = float(np.linalg.norm(aside - along[:, None] * slope, axis=1).max())
    angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
    text = f"slices lie up to {farthest:.2f} mm aside, limit {OFF_GRID * pixel_mm:.2f} mm"
    if crooked < OFF_GRID * pixel_mm:
        raise UnusableFileError("gantry-tilt", f"{angle:.1f} degrees; {text}")
    raise UnusableFileError("slices-shifted", text)


def _refuse_gaps(gaps: Floats, slices: Sequence[Dataset]) -> None:
    median = float(np.median(gaps))
    _refuse_every_nth(median, slices)
    wide = gaps[np.abs(gaps - median) > UNEVEN * median]
    if len(wide):
        multiples = np.round(wide / median)
        whole = (np.abs(wide - multiples * median) <= UNEVEN * wide) & (multiples > 1)
        text = (
            f"{len(wide)} of {len(gaps)} gaps are not {median:.4g} mm: "
            f"{wide.min():.4g} to {wide.max():.4g} mm"
        )
        if whole.all():
            missing = int((multiples - 1).sum())
            raise UnusableFileError("slices-missing", f"{missing} missing; {text}")
        raise UnusableFileError("spacing-uneven", text)
    drift = float(np.abs(np.cumsum(gaps - gaps.mean())).max())
    if drift >= OFF_GRID * median:
        raise UnusableFileError("spacing-uneven", f"slices drift by {drift:.3g} mm")


def _refuse_every_nth(gap: float, slices: Sequence[Dataset]) -> None:
    stated = {abs(float(one.get("SpacingBetweenSlices") or 0)) for one in slices}
    if len(stated) != 1 or not (said := stated.pop()):
        return
    times = round(gap / said)
    if times > 1 and abs(gap - times * said) <= UNEVEN * gap:
        raise UnusableFileError(
            "slices-missing", f"every gap is {gap:.4g} mm, SpacingBetweenSlices is {said:.4g} mm"
        )


def _ordered(positions: Floats, orientation: Floats) -> Stack:
    distance_mm, places = get_volume_positions(positions, orientation, rtol=UNEVEN)
    if distance_mm is None or places is None:
        raise UnusableFileError("series-geometry", "highdicom finds no volume")
    order = sorted(range(len(places)), key=lambda index: places[index])
    return Stack(tuple(order), float(distance_mm))
