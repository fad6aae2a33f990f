"""Compute the public scales of the nine image descriptors, from phantom radiographs only.

Run once: ``python benchmarks/make_descriptor_constants.py``. It writes
``fedrad/constants/descriptors-1.json``; other descriptors need a new name. Each phantom is
recorded by a scanner of its own for the scales; for the covariance a few scanners record
phantoms each, and their covariances are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrad import constants, seeds
from fedrad.shift import moments
from fedrad.shift.descriptors import NAMES, describe
from simulations.phantoms import radiograph
from simulations.scanners import Scanner, expose

PHANTOMS, SIZE, SEED, SCANNERS = 1200, 48, 1, 6


def main() -> None:
    """Write the constants file."""
    path = Path(constants.__file__).parent / f"{moments.CONSTANTS}.json"
    values = {"mean": [0.0] * len(NAMES), "deviation": [1.0] * len(NAMES), "covariance": []}
    pooled = np.array([described(index, scanner(index)) for index in range(PHANTOMS)])
    values["mean"] = _rounded(pooled.mean(axis=0))
    values["deviation"] = _rounded(pooled.std(axis=0))
    _write(path, values)
    values["covariance"] = [_rounded(row) for row in covariance()]
    _write(path, values)
    print(path)


def covariance() -> NDArray[np.float64]:
    """Return the mean over scanners of the covariance of a patient's standardised descriptors."""
    each = PHANTOMS // SCANNERS
    found = []
    for number in range(SCANNERS):
        machine = scanner(-1 - number)
        first = PHANTOMS + number * each
        rows = [described(index, machine) for index in range(first, first + each)]
        z = np.array([moments.patient_moments([row])[: len(NAMES)] for row in rows])
        found.append(np.cov(z.T))
    return np.asarray(np.mean(found, axis=0))


def scanner(index: int) -> Scanner:
    """Draw a scanner from a range wider than the named ones."""
    rng = seeds.stream(SEED, "", 0, f"scanner {index} of descriptor constants")
    return Scanner(
        gain=rng.uniform(0.85, 1.1),
        gamma=rng.uniform(0.8, 1.25),
        noise=rng.uniform(0.005, 0.04),
        blur_px=rng.uniform(0.0, 0.8),
    )


def described(index: int, machine: Scanner) -> NDArray[np.float64]:
    """Return the descriptors of one phantom as this machine records it."""
    rng = seeds.stream(SEED, "", index, "descriptor constants")
    stored = expose(radiograph(rng, size=SIZE, positive=index % 10 < 4).image, machine, rng)
    return describe(stored.astype(np.float32) / ((1 << machine.bits_stored) - 1))


def _write(path: Path, values: dict[str, list[float]] | dict[str, list[list[float]]]) -> None:
    record = {
        "name": moments.CONSTANTS,
        "version": 1,
        "source": f"Descriptors of {PHANTOMS} phantom radiographs of {SIZE} x {SIZE} pixels in "
        f"[0, 1], a scanner each, and the mean covariance within {SCANNERS} "
        "scanners of what stands for them in ``fedrad.shift.moments``; "
        "benchmarks/make_descriptor_constants.py.",
        "licence": "CC0-1.0",
        "values": values,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    moments.scales.cache_clear()


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in values]


if __name__ == "__main__":
    main()
