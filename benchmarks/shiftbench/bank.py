"""Phantom patients of a few hospitals, described and scored once for each known shift.

A bank holds, for every patient and condition, what a site would send sums of: moments, tags,
population, score and label. Windows are then draws of rows. The model is a logistic regression
on responses of the public filter bank, fitted on phantoms of other hospitals; its AUROC is
about .8, so it errs like a real one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from fedrad import seeds
from fedrad.shift.blocks import Layout, window_edges
from fedrad.shift.descriptors import describe
from fedrad.shift.moments import moments_of_single
from fedrad.shift.tags import acquisition_tags, counted, population_tags
from simulations.phantoms import Body, draw_body, radiograph

Floats = NDArray[np.float64]

SIZE = 48
SEED = 7  # of phantoms that may choose constants; windows are drawn with other seeds
FRESH = 8  # of phantoms of the scored hospitals, which nothing was chosen on
VERSION = 3  # raise when the same patient would come out differently
POSITIVES = 0.37  # of a bank; windows draw their own share
LAYOUT = Layout(acquisition_tags("DX"), population_tags(), window_edges(200, 0.5), 0.5)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A scanner's picture and what it says of itself."""

    gain: float = 1.0
    gamma: float = 1.0
    noise: float = 0.02
    blur: float = 0.4  # px
    resolution: float = 1.0  # of rows and columns, interpolated back
    slope: float = 0.0  # how much brighter the right edge is and darker the left, as a share
    maker: str = "SIEMENS"
    kvp: str = "120"
    spacing: str = "0.143"


HOSPITALS: dict[str, Machine] = {
    "calibration-1": Machine(),
    "calibration-2": Machine(gain=0.95, gamma=1.1, noise=0.012, blur=0.6, maker="GE HEALTHCARE"),
    "Ashford": Machine(gain=1.02, gamma=0.92, noise=0.015, blur=0.3, maker="PHILIPS", kvp="117"),
    "Birkdale": Machine(gain=0.93, gamma=1.08, noise=0.028, blur=0.5, maker="FUJIFILM", kvp="90"),
    "Carrick": Machine(gain=0.98, gamma=1.15, noise=0.01, blur=0.7, maker="CANON", kvp="125"),
}
"""Calibration hospitals chose constants; the others are scored and were never used before."""
SCORED = ("Ashford", "Birkdale", "Carrick")


@dataclass(frozen=True)
class Rows:
    """Patients of one hospital under one condition."""

    moments: Floats
    tags: Floats
    population: Floats
    scores: Floats
    labels: NDArray[np.int64]
    raw: Floats  # descriptors, for comparators that see rows
    lesion: Floats  # radius of the largest as a share of the image's edge, 0 where there is none
    latent: Floats  # (n, 16) principal components of the image


def conditions(machine: Machine) -> dict[str, Machine]:
    """Return the machine under each shift of images; L is mild, H is strong."""
    new = replace(machine, gain=machine.gain * 0.97, gamma=machine.gamma * 1.08)
    new = replace(new, noise=machine.noise * 1.4)
    scanner = replace(new, maker="CARESTREAM", kvp="80", spacing="0.175")
    return {
        "gain L": replace(machine, gain=machine.gain * 0.93),
        "gain H": replace(machine, gain=machine.gain * 0.85),
        "gamma L": replace(machine, gamma=machine.gamma * 1.10),
        "gamma H": replace(machine, gamma=machine.gamma * 1.25),
        "noise L": replace(machine, noise=machine.noise + 0.008),
        "noise H": replace(machine, noise=machine.noise + 0.02),
        "blur L": replace(machine, blur=float(np.hypot(machine.blur, 0.25))),
        "blur H": replace(machine, blur=float(np.hypot(machine.blur, 0.6))),
        "resolution L": replace(machine, resolution=0.75),
        "resolution H": replace(machine, resolution=0.5),
        "bias field L": replace(machine, slope=0.10),
        "bias field H": replace(machine, slope=0.25),
        "scanner": scanner,
        "firmware": new,
        "brighter": replace(machine, gain=machine.gain * 1.01),
        "darker": replace(machine, gain=machine.gain * 0.99),
        "rename": replace(machine, maker="CARESTREAM"),
        "population L": machine,
        "population H": machine,
    }


def bank(hospital: str, condition: str, *, patients: int, folder: Path) -> Rows:
    """Return the first ``patients`` of a hospital under a condition, from the folder if there."""
    name = f"{hospital} {condition} {patients} {_version()}"
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.npz"
    if not path.exists():
        _write(path, _described(hospital, condition, patients))
    with np.load(path) as kept:
        fields = {field: kept[field] for field in Rows.__dataclass_fields__ if field in kept}
    fields["moments"] = moments_of_single(fields["raw"])
    return Rows(**fields)


def _write(path: Path, fields: dict[str, Floats]) -> None:
    """Write a bank whole: another process never reads half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.half")
    with half.open("wb") as file:
        np.savez(file, **fields)
    half.replace(path)


def _described(hospital: str, condition: str, patients: int) -> dict[str, NDArray[np.float64]]:
    machine = HOSPITALS[hospital]
    machine = conditions(machine).get(condition, machine)
    shape = {"population L": 0.4, "population H": 1.0}.get(condition, 0.0)
    drawn = [_patient(hospital, index, machine, shape) for index in range(patients)]
    images, ages, sexes, lesions = (list(column) for column in zip(*drawn, strict=True))
    said = {"manufacturer": machine.maker, "kvp": machine.kvp, "pixel spacing": machine.spacing}
    who = [{"age": age, "sex": sex} for age, sex in zip(ages, sexes, strict=True)]
    return {
        "tags": np.tile(counted(LAYOUT.tags, [said]), (patients, 1)),
        "population": np.array([counted(LAYOUT.population, [one]) for one in who]),
        "scores": _score(np.array([_features(image) for image in images])),
        "labels": np.array([lesion > 0 for lesion in lesions], dtype=np.int64),
        "lesion": np.array(lesions),
        "latent": np.stack([image.ravel() for image in images]) @ components(),
        "raw": np.array([describe(image) for image in images]),
    }


def _patient(
    hospital: str, index: int, machine: Machine, shape: float
) -> tuple[NDArray[np.float32], str, str, float]:
    rng = seeds.stream(FRESH if hospital in SCORED else SEED, hospital, index, "shiftbench patient")
    positive = bool(rng.uniform() < POSITIVES)
    age = float(np.clip(rng.normal(62 - 14 * shape, 16), 1, 99))
    sex = "F" if rng.uniform() < 0.48 else "M"
    body = _younger(draw_body(rng, positive=positive), shape)
    image = _seen(radiograph(rng, size=SIZE, positive=positive, body=body).image, machine, rng)
    lesion = max((one.radius for one in body.lesions), default=0.0)
    return image, f"{age:.0f}", sex, lesion


def _younger(body: Body, shape: float) -> Body:
    """Return a body with a smaller heart, longer lungs and less tissue."""
    row, column, width = body.heart
    return replace(
        body,
        heart=(row, column, width * (1 - 0.25 * shape)),
        diaphragm=body.diaphragm + 0.04 * shape,
        tissue=body.tissue - 0.03 * shape,
    )


def _seen(
    image: NDArray[np.float32], machine: Machine, rng: np.random.Generator
) -> NDArray[np.float32]:
    seen = np.float32(machine.gain) * image ** np.float32(machine.gamma)
    seen = seen * np.linspace(1 - machine.slope, 1 + machine.slope, SIZE, dtype=np.float32)
    blur = _along(machine.blur, 0).astype(np.float32)
    seen = blur @ seen @ blur.T
    seen = seen + np.float32(machine.noise) * rng.standard_normal(seen.shape, dtype=np.float32)
    if machine.resolution < 1:
        small = ndimage.zoom(seen, machine.resolution, order=1)
        seen = ndimage.zoom(small, SIZE / np.array(small.shape), order=1)
    return np.asarray(np.clip(seen, 0, 1), np.float32)


def _features(image: NDArray[np.float32]) -> Floats:
    """Return how strongly blobs of a few sizes answer inside the lungs."""
    values = (image.astype(np.float64) - image.mean()) / max(float(image.std()), 1e-6)
    inner = values[6:38, 7:41] < 0.3
    found = [1.0]
    for sigma in (1.2, 2.0, 3.0):
        smooth, bent = _along(sigma, 0), _along(sigma, 2)
        answer = bent @ values @ smooth.T + smooth @ values @ bent.T
        within = -(sigma**2) * answer[6:38, 7:41][inner]
        found += [float(value) for value in np.quantile(within, (0.9, 0.97, 0.995))]
    return np.array(found)


@lru_cache(maxsize=64)
def _along(sigma: float, order: int) -> Floats:
    """Return the matrix that filters a column of an image by a Gaussian or its derivative."""
    filtered = ndimage.gaussian_filter1d(np.eye(SIZE), sigma, axis=0, order=order, truncate=3)
    return np.asarray(filtered, dtype=np.float64)


def _score(features: Floats) -> Floats:
    weights = np.array(MODEL)
    return np.asarray(1 / (1 + np.exp(-features @ weights)))


def fit() -> tuple[list[float], float]:
    """Fit the model on phantoms of the calibration hospitals; return it and its AUROC there."""
    from fedrad.metrics.classification import auroc

    drawn = _apart(600)
    x, y = np.array([_features(row[0]) for row in drawn]), np.array([row[3] > 0 for row in drawn])

    def loss(weights: Floats) -> float:
        margin = (2 * y - 1) * (x @ weights)
        return float(np.logaddexp(0, -margin).sum() + 0.5 * weights[1:] @ weights[1:])

    found = optimize.minimize(loss, np.zeros(x.shape[1]), method="BFGS").x
    return [round(float(w), 3) for w in found], auroc(1 / (1 + np.exp(-x @ found)), y)


def _apart(number: int) -> list[tuple[NDArray[np.float32], str, str, float]]:
    """Return patients of the calibration hospitals who are in no bank."""
    names = [name for name in HOSPITALS if name not in SCORED]
    return [
        _patient(name, 100_000 + index, HOSPITALS[name], 0.0)
        for name in names
        for index in range(number)
    ]


@lru_cache(maxsize=1)
def components() -> Floats:
    """Return (pixels, 16) principal axes of phantoms of the calibration hospitals."""
    images = np.stack([row[0].ravel() for row in _apart(300)]).astype(np.float64)
    return np.asarray(np.linalg.svd(images - images.mean(axis=0), full_matrices=False)[2][:16].T)


MODEL = (-3.174, 2.726, 3.708, 6.126, 1.921, 1.196, 2.247, -1.948, -0.969, -1.576)
"""What ``fit`` found; ``python benchmarks/shiftbench/bank.py`` prints it again."""


def _version() -> str:
    text = f"{MODEL}{HOSPITALS}{SIZE}{SEED}{FRESH}{VERSION}"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


if __name__ == "__main__":
    print(*fit())
