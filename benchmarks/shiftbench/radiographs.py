"""Measure shift detection on real radiographs: one archive's patients dealt to virtual sites.

``python benchmarks/shiftbench/radiographs.py --data FOLDER``: a folder with ``manifest.csv``
(file, site, label, patient) and its images, of which none is kept. Patients with films of both
labels are left out; some fit the model and the principal components, the rest are dealt anew for
each draw: six windows of 40 for the reference, three for each shift, nobody in two of a draw.
The shifts are those of phantoms, put on real images. Tags and lesion sizes there are none: every
patient gets the same invented tags, which change with the scanner.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from bank import LAYOUT, Floats, Machine, Rows, conditions
from comparators import Monitors, logistic, stacked
from draws import NONE, SHIFTS, Shift, shown, taken
from numpy.typing import NDArray
from PIL import Image
from rates import tables
from scipy import ndimage
from scipy.special import expit
from trials import AFTER, WINDOWS, Tally, count, reference, told

from fedrad import seeds
from fedrad.shift.descriptors import describe
from fedrad.shift.moments import CLIP, KNOWN, WIDTH, moments_of_single, patient_moments, scales
from fedrad.shift.tags import counted

SITE, POSITIVE = "nih", "other_pneumonia"
PATIENTS, PREVALENCE = 40, 0.5  # of a window
FITTED = 150  # patients of the model
COMPONENTS, SMALL = 16, 48  # and the edge of the image they are of
SEED = 72
EPSILONS = (8.0, 4.0, 2.0)
AS_TAKEN = Machine()  # what a film has already of noise and blur; shifts add the difference
LEFT_OUT = ("population L", "population H", "annotator")  # nothing is known that they would move
MORE = {
    "prevalence .42": Shift(prevalence=PREVALENCE + 0.12),
    "prevalence .55": Shift(prevalence=PREVALENCE + 0.25),
}
"""Prevalence moves by as much as on phantoms, from one half."""

Plane = NDArray[np.float32]
Films = list[list[Plane]]


def main() -> None:
    """Describe the archive under every condition, then measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shiftbench")
    parser.add_argument("--draws", type=int, default=135)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--rescaled", action="store_true", help="as if the public scales were of such films"
    )
    parser.add_argument("--scales", default=KNOWN[-1], choices=KNOWN, help="public ones")
    given = parser.parse_args()
    wanted = ["", *(name for name in conditions(AS_TAKEN) if name not in LEFT_OUT)]
    jobs = [(given.data, name, given.folder) for name in wanted]
    with Pool(given.processes) as pool:
        described = dict(zip(wanted, pool.starmap(bank, jobs, chunksize=1), strict=True))
        described = {
            name: replace(rows, moments=moments_of_single(rows.raw, given.scales))
            for name, rows in described.items()
        }
        if given.rescaled:
            described = {name: rescaled(rows, given.data) for name, rows in described.items()}
        cut = float(np.mean(np.linalg.norm(described[""].moments, axis=1) > 0.999 * CLIP))
        model = _model_auroc(described[""])
        print(f"{len(described[''].labels)} patients, model {model:.3f}, moments cut {cut:.3f}")
        parts = pool.starmap(
            power,
            [(described, draw, (given.seed, given.scales)) for draw in range(given.draws)],
        )
    whole = Tally()
    for part in parts:
        for name, clusters in part.values.items():
            whole.values.setdefault(name, {}).update(clusters)
    print(tables({"power": whole.values}))


def power(banks: dict[str, Rows], draw: int, which: tuple[int, str]) -> Tally:
    """Deal the patients to one virtual site, and read every shift there.

    Args:
        banks: Patients under each condition.
        draw: Its number.
        which: The seed, and the public scales of the moments.
    """
    seed, layout = which[0], replace(LAYOUT, scales=which[1])
    tally, rng = Tally(), seeds.stream(seed, SITE, draw, "shiftbench radiographs")
    cluster, places = f"virtual {draw}", rng.permutation(len(banks[""].labels))
    site = VirtualSite(banks, places.tolist(), rng)
    rows = [site.window(NONE) for _ in range(WINDOWS)]
    rest = site.free()
    monitors = Monitors(rows, rng)
    keys = {epsilon: (seed, "radiographs", draw, str(epsilon)) for epsilon in EPSILONS}
    before = {epsilon: reference(rows, epsilon, keys[epsilon], layout) for epsilon in EPSILONS}
    for name, shift in {"null": NONE, **SHIFTS, **MORE}.items():
        if name in LEFT_OUT:
            continue
        here = VirtualSite(banks, rng.permutation(rest).tolist(), rng)
        after = [here.window(shift) for _ in range(AFTER)]
        for one in after:
            seen = monitors.seen(one)
            for who in ("KS", "MMD"):
                tally.add(f"{name}|raw {who}", seen[who], cluster)
        for epsilon, own in before.items():
            said = [told(one, epsilon, (*keys[epsilon], name, k)) for k, one in enumerate(after)]
            count(tally, f"{name}|{epsilon:g}", said, (own, cluster), layout)
    return tally


class VirtualSite:
    """Some of the archive's patients, each in one window at most."""

    def __init__(self, banks: dict[str, Rows], places: list[int], rng: np.random.Generator) -> None:
        self._banks, self._rng = banks, rng
        labels = banks[""].labels
        self._pools = [[p for p in places if labels[p] == label] for label in (0, 1)]

    def window(self, shift: Shift) -> Rows:
        """Return the next window under a shift; a few patients fewer where a label runs out."""
        size = int(self._rng.poisson(PATIENTS))
        share = PREVALENCE if shift.prevalence == NONE.prevalence else shift.prevalence
        positives = int(self._rng.binomial(size, share))
        places = [
            taken(pool, min(number, len(pool)))
            for pool, number in zip(self._pools, (size - positives, positives), strict=True)
        ]
        who = (np.concatenate(places), self._rng)
        return shown(self._banks[""], self._banks[shift.condition], shift, who)

    def free(self) -> list[int]:
        """Return who is in no window yet."""
        return [place for pool in self._pools for place in pool]


def bank(data: Path, condition: str, folder: Path) -> Rows:
    """Return the described patients that no model was fitted on, from the folder if there."""
    text = f"{data.resolve()} {condition} {conditions(AS_TAKEN)} {FITTED} {COMPONENTS} 1"
    path = folder / f"real-{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"
    if not path.exists():
        rows = _described(data, condition)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name: getattr(rows, name) for name in Rows.__dataclass_fields__})
    with np.load(path) as kept:
        return Rows(**{name: kept[name] for name in Rows.__dataclass_fields__})


def rescaled(rows: Rows, data: Path) -> Rows:
    """Return patients with the moments they would have if the public scales were of such films.

    Centre and deviation of each descriptor are those of the patients that the model was fitted
    on; a patient of several films counts by the mean of their descriptors.
    """
    centre, deviation = _usual(data)
    mean, unit = scales()
    like = mean + (rows.raw - centre) / deviation * unit / WIDTH
    return replace(rows, moments=moments_of_single(like))


@lru_cache(maxsize=1)
def _usual(data: Path) -> tuple[Floats, Floats]:
    films, _ = archive(data)
    found = [np.mean([describe(film) for film in own], axis=0) for own in films[:FITTED]]
    return np.mean(found, axis=0), np.std(found, axis=0)


def _described(data: Path, condition: str) -> Rows:
    machine = conditions(AS_TAKEN).get(condition, AS_TAKEN)
    films, labels = archive(data)
    axes, weights = _fitted(data)
    found = [
        _patient(changed(films[k], machine, k), (machine, labels[k]), (axes, weights))
        for k in range(FITTED, len(films))
    ]
    return stacked(found)


def _patient(
    films: Sequence[Plane], who: tuple[Machine, int], model: tuple[Floats, Floats]
) -> Rows:
    machine, label = who
    axes, weights = model
    raw = np.array([describe(film) for film in films])
    seen = np.array([_features(film, axes) for film in films])
    said = {"manufacturer": machine.maker, "kvp": machine.kvp, "pixel spacing": machine.spacing}
    return Rows(
        moments=patient_moments(list(raw))[None],
        tags=counted(LAYOUT.tags, [said])[None],
        population=counted(LAYOUT.population, [{}])[None],
        scores=np.array([expit(seen @ weights).mean()]),
        labels=np.array([label]),
        raw=raw.mean(axis=0)[None],
        lesion=np.array([np.inf if label else 0.0]),
        latent=seen[:, 1 : 1 + COMPONENTS].mean(axis=0)[None],
    )


def changed(films: Sequence[Plane], machine: Machine, patient: int) -> list[Plane]:
    """Return a patient's films as another machine would have taken them."""
    rng = seeds.stream(SEED, SITE, patient, "shiftbench noise of films")
    noise = float(np.sqrt(max(0.0, machine.noise**2 - AS_TAKEN.noise**2)))
    blur = float(np.sqrt(max(0.0, machine.blur**2 - AS_TAKEN.blur**2)))
    return [_seen(film, machine, (blur, noise), rng) for film in films]


def _seen(
    film: Plane, machine: Machine, more: tuple[float, float], rng: np.random.Generator
) -> Plane:
    blur, noise = more
    rows, columns = film.shape
    seen = machine.gain * film.astype(np.float64) ** machine.gamma
    seen = seen * np.linspace(1 - machine.slope, 1 + machine.slope, columns)
    if blur:
        seen = np.fft.ifft2(ndimage.fourier_gaussian(np.fft.fft2(seen), blur)).real
    seen = seen + noise * rng.standard_normal(seen.shape) if noise else seen
    if machine.resolution < 1:
        small = ndimage.zoom(seen, machine.resolution, order=1)
        seen = ndimage.zoom(small, np.array([rows, columns]) / np.array(small.shape), order=1)
    return np.asarray(np.clip(seen, 0, 1), np.float32)


@lru_cache(maxsize=1)
def archive(data: Path) -> tuple[Films, list[int]]:
    """Return films and label of every patient in an order that no label decides."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["site"] == SITE]
    of: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        of.setdefault(row["patient"], []).append(row)
    kept = [own for own in of.values() if len({row["label"] for row in own}) == 1]
    order = seeds.stream(SEED, SITE, 0, "shiftbench order of patients").permutation(len(kept))
    films = [[_read(data / row["file"]) for row in kept[k]] for k in order]
    return films, [int(kept[k][0]["label"] == POSITIVE) for k in order]


def _read(path: Path) -> Plane:
    return np.asarray(Image.open(path).convert("L"), dtype=np.float32) / np.float32(255)


@lru_cache(maxsize=1)
def _fitted(data: Path) -> tuple[Floats, Floats]:
    """Return principal axes and a logistic regression of the first patients' films."""
    films, labels = archive(data)
    small = np.array([_small(film).ravel() for own in films[:FITTED] for film in own])
    scale = np.linalg.svd(small - small.mean(axis=0), full_matrices=False)
    axes = np.asarray(scale[2][:COMPONENTS].T)
    x = np.array([_features(film, axes) for own in films[:FITTED] for film in own])
    y = np.array([float(labels[k]) for k in range(FITTED) for _ in films[k]])
    middle, unit = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    middle[0], unit[0] = 0.0, 1.0
    weights = logistic((x - middle) / unit, y) / unit
    weights[0] -= float(weights[1:] @ middle[1:])
    return axes, np.asarray(weights)


def _features(film: Plane, axes: Floats) -> Floats:
    return np.concatenate([[1.0], _small(film).ravel() @ axes, describe(film)])


def _small(film: Plane) -> Floats:
    found = ndimage.zoom(film.astype(np.float64), SMALL / np.array(film.shape), order=1)
    return np.asarray(found, dtype=np.float64)


def _model_auroc(rows: Rows) -> float:
    from fedrad.metrics.classification import auroc

    return auroc(rows.scores, rows.labels)


if __name__ == "__main__":
    main()
