"""Compute the public scales of the nine image descriptors for real radiographs.

Run once: ``python benchmarks/make_film_constants.py --data FOLDER``, a folder with ``manifest.csv``
(file, site, patient) and the images of public archives. It writes
``fedrad/constants/descriptors-2.json``: means, deviations and correlations over hundreds of
patients of three publishers, at three sizes of image; no image and no patient's number. The
archive named ``--left-out`` is not read, so that shifts can be measured on it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from fedrad import constants
from fedrad.shift import moments
from fedrad.shift.descriptors import describe

NAME = "descriptors-2"
SIZES = (64, 128, 192)  # edges that recipes commonly have
CUT = 0.05  # share of patients whose moments may be longer than the clip
Floats = NDArray[np.float64]


def main() -> None:
    """Write the constants file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--left-out", default="nih")
    given = parser.parse_args()
    found = described(given.data, given.left_out)
    rows = np.concatenate(list(found.values()))
    values = {"mean": _rounded(rows.mean(axis=0)), "deviation": _rounded(rows.std(axis=0))}
    width = _width(rows)
    values["deviation"] = _rounded(rows.std(axis=0) * width / moments.WIDTH)
    _write(values | {"covariance": []}, found)
    within = [
        np.cov(moments.moments_of_single(each, NAME)[:, : rows.shape[1]].T)
        for each in found.values()
    ]
    covariance = [_rounded(row) for row in np.mean(within, axis=0)]
    print(_write(values | {"covariance": covariance}, found), f"width {width:.2f}")


def described(data: Path, left_out: str) -> dict[tuple[str, int], Floats]:
    """Return the descriptors (patients, 9) of each publisher at each size."""
    films: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    with (data / "manifest.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["site"] != left_out:
                films[row["site"]][row["patient"]].append(data / row["file"])
    return {
        (site, size): np.array([_patient(paths, size) for paths in patients.values()])
        for site, patients in films.items()
        for size in SIZES
    }


def _patient(paths: list[Path], size: int) -> Floats:
    """Return the mean over a patient's films, each in [0, 1] and ``size`` pixels wide."""
    found = []
    for path in paths:
        image = np.asarray(Image.open(path).convert("L"), np.float32) / 255
        small = functional.interpolate(torch.tensor(image)[None, None], (size, size), mode="area")
        found.append(describe(small[0, 0].numpy()))
    return np.asarray(np.mean(found, axis=0))


def _width(rows: Floats) -> float:
    """Return how many deviations z = 1 must stand for, so that few patients are cut."""
    centred = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    for width in np.arange(2.0, 6.0, 0.1):
        z = np.clip(centred / width, -moments.FARTHEST, moments.FARTHEST)
        lengths = np.linalg.norm(np.concatenate([z, z**2 / np.sqrt(2)], axis=1), axis=1)
        if np.mean(lengths > moments.CLIP) <= CUT:
            return float(width)
    raise SystemExit("the descriptors are too unlike for one clip")


def _write(values: dict[str, object], found: dict[tuple[str, int], Floats]) -> Path:
    sites = sorted({site for site, _ in found})
    patients = sum(len(rows) for (_, size), rows in found.items() if size == SIZES[0])
    content = {
        "name": NAME,
        "version": 1,
        "source": (
            f"Descriptors of {patients} patients in public chest radiographs ({', '.join(sites)}) "
            f"in [0, 1] at {SIZES} pixels, and the mean covariance within a publisher; means over "
            "all of them alone. benchmarks/make_film_constants.py."
        ),
        "licence": "CC0-1.0",
        "values": values,
    }
    path = Path(constants.__file__).parent / f"{NAME}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    moments.scales.cache_clear()
    return path


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 5) for value in values]


if __name__ == "__main__":
    main()
