"""Draw images of patients who do not exist, with lesions of known place and size.

A radiograph is a sum of smooth shapes (trunk, lungs, mediastinum, heart, diaphragm, ribs) and
1/f texture; a CT volume is made of ellipses and balls. They have the statistics that the
software must cope with and no clinical meaning whatever. Places and lengths of a body are
shares of the image's edge; radiographs are [0, 1] with dense tissue bright, CT is in
Hounsfield units. How a machine records them is ``scanners``' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

LUNG_OFFSET = 0.205  # of a lung's centre from the middle, in edges
LUNG_WIDTH, LUNG_HEIGHT = 0.145, 0.3  # half axes
_AIR, _FAT, _MUSCLE, _LUNG, _BONE = -1000.0, -90.0, 45.0, -840.0, 420.0  # HU
_VESSEL_HU = 110.0  # texture of the lungs, one standard deviation


@dataclass(frozen=True, slots=True)
class Lesion:
    """A round lesion: centre and radius as shares of the image's edges."""

    depth: float  # 0 in a radiograph
    row: float
    column: float
    radius: float  # of the row edge
    contrast: float  # of [0, 1] in a radiograph, HU above lung in CT


@dataclass(frozen=True, slots=True)
class Body:
    """One patient's anatomy, the same in all images of that patient."""

    lungs: tuple[tuple[float, float, float, float], ...]  # row, column, half height, half width
    heart: tuple[float, float, float]  # row, column, half width
    ribs: tuple[float, float, float, float]  # number, phase, bend, strength
    diaphragm: float  # row at which the lungs end
    tissue: float  # brightness of soft tissue
    texture: float  # strength
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True, slots=True)
class Phantom:
    """An image, where its lesions are, and the lesions themselves."""

    image: Floats  # (rows, columns) in [0, 1], or (slices, rows, columns) in HU
    mask: Mask  # same shape; 1 inside a lesion
    lesions: tuple[Lesion, ...]  # empty where there is none
    lungs: Mask  # same shape; 1 where a lung is seen


def draw_body(rng: np.random.Generator, *, positive: bool) -> Body:
    """Draw one patient for radiographs.

    Args:
        rng: The patient's own stream.
        positive: Whether the patient has one to three lesions.
    """
    u = rng.uniform(-1, 1, 16)
    lungs = tuple(
        (
            0.46 + 0.025 * u[0],
            0.5 + side * (LUNG_OFFSET + 0.015 * u[1]),
            LUNG_HEIGHT * (1 + 0.1 * u[2]),
            LUNG_WIDTH * (1 + 0.1 * u[3]) * (1 if side < 0 else 0.94),
        )
        for side in (-1, 1)
    )
    return Body(
        lungs=lungs,
        heart=(0.6 + 0.03 * u[4], 0.55 + 0.02 * u[5], 0.12 + 0.025 * u[6]),
        ribs=(9 + 1.5 * u[7], np.pi * u[8], 0.3 + 0.1 * u[9], 0.05 + 0.02 * u[10]),
        diaphragm=0.68 + 0.04 * u[11],
        tissue=0.66 + 0.04 * u[12],
        texture=0.028 + 0.008 * u[13],
        lesions=_radiograph_lesions(rng, lungs) if positive else (),
    )


def radiograph(
    rng: np.random.Generator, *, size: int, positive: bool, body: Body | None = None
) -> Phantom:
    """Draw one frontal chest image.

    Args:
        rng: Fixes positioning and texture, and the body where none is given.
        size: Rows and columns; 32 or more.
        positive: Whether there are lesions; ignored where a body is given.
        body: The patient, to draw several images of one.

    Returns:
        A float32 image (size, size) in [0, 1], dense tissue bright, with its lesion and lung masks.
    """
    body = body or draw_body(rng, positive=positive)
    shift = rng.uniform(-0.025, 0.025, 2)
    rows, columns = _plane(size)
    r, c = rows - np.float32(shift[0]), columns - np.float32(shift[1])
    lungs = _lung_field(body, r, c)
    image = _trunk(body, r, c) - 0.4 * lungs
    image += _bones(body, r, c) * (0.35 + 0.65 * lungs)
    image += body.texture * _texture(rng, (size, size)) * (0.3 + 0.7 * lungs)
    mask = np.zeros((size, size), np.uint8)
    for lesion in body.lesions:
        distance = np.hypot(r - lesion.row, c - lesion.column) / np.float32(lesion.radius)
        image += np.float32(lesion.contrast) * _soft(distance, 0.5)
        mask |= distance < 1
    lesions = tuple(_moved(lesion, shift) for lesion in body.lesions)
    seen = (lungs > 0.5).astype(np.uint8)
    return Phantom(np.clip(image, 0, 1).astype(np.float32), mask, lesions, seen)


def ct_volume(
    rng: np.random.Generator, *, shape: tuple[int, int, int] = (24, 64, 64), positive: bool
) -> Phantom:
    """Draw one chest CT of a few slices.

    Args:
        rng: The patient's own stream.
        shape: Slices, rows, columns; 8 or more each.
        positive: Whether the lungs hold one to three balls of soft tissue.

    Returns:
        A float32 volume in HU with its lesion and lung masks; slice 0 is the lowest.
    """
    depth, rows, columns = _space(shape)
    lungs = _ct_lung_places(rng)
    outer = _ellipse(rows, columns, (0.5, 0.5, 0.36, 0.46))
    volume = np.broadcast_to(np.where(outer < 1, _MUSCLE, _AIR), shape).astype(np.float32)
    volume = np.where((outer >= 0.85) & (outer < 1), np.float32(_FAT), volume)
    taper = 1 + 1.2 * (depth - 0.5) ** 2  # lungs narrow towards apex and base
    inside = np.zeros(shape, bool)
    for place in lungs:
        inside |= _ellipse(rows, columns, place) * taper**2 < 1
    texture = _VESSEL_HU * _texture(rng, shape)
    volume = np.where(inside, np.float32(_LUNG) + np.maximum(texture, -100), volume)
    volume = np.where(_ellipse(rows, columns, (0.76, 0.5, 0.06, 0.06)) < 1, _BONE, volume)
    lesions = _ct_lesions(rng, lungs) if positive else ()
    mask = np.zeros(shape, np.uint8)
    for lesion in lesions:
        distance = _ball(lesion, shape)
        share = _soft(distance, 0.3)
        volume = volume * (1 - share) + (_LUNG + lesion.contrast) * share
        mask |= distance < 1
    return Phantom(np.asarray(volume, np.float32), mask, lesions, inside.astype(np.uint8))


@lru_cache(maxsize=8)
def _plane(size: int) -> tuple[Floats, Floats]:
    edge = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return edge[:, None], edge[None, :]


@lru_cache(maxsize=8)
def _space(shape: tuple[int, int, int]) -> tuple[Floats, Floats, Floats]:
    d, r, c = (((np.arange(n) + 0.5) / n).astype(np.float32) for n in shape)
    return d[:, None, None], r[None, :, None], c[None, None, :]


def _soft(distance: Floats, width: float) -> Floats:
    """Return 1 well inside distance 1 and 0 well outside, linear between."""
    share = (1 - distance) / np.float32(width) + np.float32(0.5)
    return np.asarray(np.clip(share, 0, 1), np.float32)


def _ellipse(rows: Floats, columns: Floats, place: tuple[float, float, float, float]) -> Floats:
    row, column, height, width = (np.float32(value) for value in place)
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2


def _lung_field(body: Body, rows: Floats, columns: Floats) -> Floats:
    field = sum(_soft(_ellipse(rows, columns, place), 0.5) for place in body.lungs)
    dome = body.diaphragm + 2.0 * (np.abs(columns - 0.5) - LUNG_OFFSET) ** 2
    base = np.clip((dome - rows) * np.float32(30) + np.float32(0.5), 0, 1)
    row, column, width = body.heart
    heart = _soft(_ellipse(rows, columns, (row, column, 0.14, width)), 0.5)
    return np.asarray(np.clip(field, 0, 1) * base * (1 - np.float32(0.8) * heart), np.float32)


def _trunk(body: Body, rows: Floats, columns: Floats) -> Floats:
    across = np.clip((0.47 - np.abs(columns - 0.5)) * 25 + 0.5, 0, 1)
    spine = 0.14 * np.exp(-(((columns - 0.5) / 0.05) ** 2))
    return np.asarray(0.04 + across * (body.tissue + spine + 0.08 * (rows - 0.5)), np.float32)


def _bones(body: Body, rows: Floats, columns: Floats) -> Floats:
    number, phase, bend, strength = body.ribs
    height = rows - np.float32(bend) * np.abs(columns - 0.5)
    wave = np.sin(np.float32(2 * np.pi * number) * height + np.float32(phase))
    return np.asarray(np.float32(strength) * np.maximum(wave, 0) ** 2, np.float32)


def _texture(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return noise whose amplitude falls as 1/f^1.5, mean 0 and deviation about 1."""
    spectrum = fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(fft.irfftn(spectrum * _falloff(shape), s=shape), np.float32)


@lru_cache(maxsize=8)
def _falloff(shape: tuple[int, ...]) -> Floats:
    axes = [fft.fftfreq(n) * n for n in shape[:-1]] + [fft.rfftfreq(shape[-1]) * shape[-1]]
    square = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    square = np.broadcast_to(square, (*shape[:-1], len(axes[-1])))
    amplitude = np.maximum(square, 4.0) ** -0.75
    amplitude.flat[0] = 0
    power = 2 * np.sum(amplitude**2) - np.sum(amplitude[..., 0] ** 2)
    return np.asarray(amplitude * np.sqrt(np.prod(shape) / power), np.float32)


def _moved(lesion: Lesion, shift: NDArray[np.float64]) -> Lesion:
    row, column = lesion.row + float(shift[0]), lesion.column + float(shift[1])
    return Lesion(lesion.depth, row, column, lesion.radius, lesion.contrast)


def _radiograph_lesions(
    rng: np.random.Generator, lungs: tuple[tuple[float, float, float, float], ...]
) -> tuple[Lesion, ...]:
    count = 1 + int(rng.binomial(2, 0.3))
    return tuple(_radiograph_lesion(rng, lungs[int(rng.integers(2))]) for _ in range(count))


def _radiograph_lesion(rng: np.random.Generator, lung: tuple[float, float, float, float]) -> Lesion:
    row, column, height, width = lung
    angle, distance = rng.uniform(0, 2 * np.pi), 0.65 * np.sqrt(rng.uniform())
    return Lesion(
        depth=0.0,
        row=row - 0.06 + 0.8 * height * distance * np.sin(angle),
        column=column + width * distance * np.cos(angle),
        radius=rng.uniform(0.03, 0.065),
        contrast=rng.uniform(0.065, 0.21),
    )


def _ct_lung_places(
    rng: np.random.Generator,
) -> tuple[tuple[float, float, float, float], ...]:
    u = rng.uniform(-1, 1, 4)
    height, width = 0.22 * (1 + 0.08 * u[0]), 0.15 * (1 + 0.08 * u[1])
    offset, row = 0.21 + 0.015 * u[2], 0.47 + 0.02 * u[3]
    return tuple((row, 0.5 + side * offset, height, width) for side in (-1, 1))


def _ct_lesions(
    rng: np.random.Generator, lungs: tuple[tuple[float, float, float, float], ...]
) -> tuple[Lesion, ...]:
    found = []
    for _ in range(1 + int(rng.binomial(2, 0.4))):
        row, column, height, width = lungs[int(rng.integers(2))]
        angle, distance = rng.uniform(0, 2 * np.pi), 0.6 * np.sqrt(rng.uniform())
        found.append(
            Lesion(
                depth=rng.uniform(0.25, 0.75),
                row=row + height * distance * np.sin(angle),
                column=column + width * distance * np.cos(angle),
                radius=rng.uniform(0.06, 0.11),
                contrast=rng.uniform(700.0, 900.0),
            )
        )
    return tuple(found)


def _ball(lesion: Lesion, shape: tuple[int, int, int]) -> Floats:
    """Distance from the centre in radii; a slice counts as thick as the volume is high."""
    depth, rows, columns = _space(shape)
    square = (depth - lesion.depth) ** 2 + (rows - lesion.row) ** 2
    return np.asarray(np.sqrt(square + (columns - lesion.column) ** 2) / lesion.radius, np.float32)
