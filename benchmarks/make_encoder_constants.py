"""Fit the projection of the frozen encoder, on phantom radiographs only.

Run once: ``python benchmarks/make_encoder_constants.py``. It writes
``fedrad/constants/encoder-1.json``; another projection needs a new name. Each phantom is recorded
by a scanner of its own, so the leading directions are those in which radiographs differ however
they were made; the covariance is the mean of those within a few scanners, for scale.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from make_descriptor_constants import scanner
from numpy.typing import NDArray

from fedrad import constants, seeds
from fedrad.shift import contents, encoder
from simulations.phantoms import radiograph
from simulations.scanners import Scanner, expose

PHANTOMS, SEED, SCANNERS = 1200, 3, 6
LENGTH_OF_MOST = 1.3  # root mean square norm of a patient: few are cut to ``CLIP``

Floats = NDArray[np.float64]


def main() -> None:
    """Write the constants file."""
    rows = np.concatenate([seen(index, scanner(index)) for index in range(PHANTOMS)])
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    _, _, directions = np.linalg.svd((rows - mean) / deviation, full_matrices=False)
    projection = directions[: contents.LENGTH].T
    found = (rows - mean) / deviation @ projection
    projection = projection / found.std(axis=0)
    projection *= LENGTH_OF_MOST / encoder.norm_of((rows - mean) / deviation @ projection)
    values = {"mean": _rounded(mean), "deviation": _rounded(deviation)}
    values["projection"] = [_rounded(row) for row in projection]
    values["covariance"] = []
    _write(values)
    values["covariance"] = [_rounded(row) for row in within()]
    print(_write(values))


def seen(index: int, machine: Scanner) -> Floats:
    """Return the averaged responses (1, 144) to one phantom."""
    rng = seeds.stream(SEED, "", index, "phantom of encoder constants")
    phantom = radiograph(rng, size=encoder.SIZE, positive=index % 2 == 0)
    image = expose(phantom.image, machine, rng)
    return encoder.responses(np.asarray(image, np.float32)[None])


def within() -> Floats:
    """Return the mean over scanners of the covariance of what patients send."""
    values = json.loads(_path().read_text(encoding="utf-8"))["values"]
    mean, deviation = np.array(values["mean"]), np.array(values["deviation"])
    each, found = PHANTOMS // SCANNERS, []
    for number in range(SCANNERS):
        first = PHANTOMS + number * each
        rows = [seen(index, scanner(-1 - number)) for index in range(first, first + each)]
        z = (np.concatenate(rows) - mean) / deviation @ np.array(values["projection"])
        found.append(np.cov(np.array([contents.patient_contents([row]) for row in z]).T))
    return np.asarray(np.mean(found, axis=0))


def _path() -> Path:
    return Path(constants.__file__).parent / f"{contents.CONSTANTS}.json"


def _write(values: dict[str, object]) -> Path:
    content = {
        "name": contents.CONSTANTS,
        "version": 1,
        "source": (
            f"Responses of {encoder.BANK} to {PHANTOMS} phantom radiographs of {encoder.SIZE} x "
            f"{encoder.SIZE} pixels, a scanner each, and the mean covariance within {SCANNERS} "
            "scanners; benchmarks/make_encoder_constants.py."
        ),
        "licence": "CC0-1.0",
        "values": values,
    }
    _path().write_text(json.dumps(content) + "\n", encoding="utf-8")
    return _path()


def _rounded(row: Floats) -> list[float]:
    return [round(float(value), 5) for value in row]


if __name__ == "__main__":
    main()
