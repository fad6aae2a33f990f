"""Compute the constants that standardise a filter bank, from phantom radiographs only.

Run once per bank: ``python benchmarks/make_filter_bank_constants.py``. It writes
``fedrad/constants/filter-bank-1.json``; a changed bank needs a new name. Every scanner of
``simulations.scanners`` records an equal share of the phantoms.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedrad import constants, seeds
from fedrad.models.filter_bank import FilterBank
from simulations.phantoms import radiograph
from simulations.scanners import SCANNERS, expose

NAME = "filter-bank-1"
PHANTOMS, SIZE, SEED = 400, 64, 1
BANK: dict[str, Any] = {
    "log_sigmas_px": [1, 2, 4, 8],
    "gabor_wavelengths_px": [4, 8],
    "gabor_orientations": 4,
}


def main() -> None:
    """Write the constants file."""
    torch.set_num_threads(1)
    with torch.no_grad():
        responses = FilterBank(BANK)(phantom_images()).double()
    values = {
        **BANK,
        "mean": _rounded(responses.mean((0, 2, 3))),
        "deviation": _rounded(responses.std((0, 2, 3))),
    }
    record = {
        "name": NAME,
        "version": 1,
        "source": f"Responses to {PHANTOMS} phantom radiographs of {SIZE} x {SIZE} pixels, "
        "each image at mean 0 and deviation 1; benchmarks/make_filter_bank_constants.py.",
        "licence": "CC0-1.0",
        "values": values,
    }
    path = Path(constants.__file__).parent / f"{NAME}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(path)


def phantom_images() -> torch.Tensor:
    """Return phantoms as a site's recipe would: (N, 1, H, W) float32 in [0, 1], dense bright."""
    images = []
    scanners = list(SCANNERS.values())
    for index in range(PHANTOMS):
        rng = seeds.stream(SEED, "", index, "filter bank constants")
        phantom = radiograph(rng, size=SIZE, positive=index % 2 == 0)
        scanner = scanners[index // 2 % len(scanners)]
        stored = expose(phantom.image, scanner, rng).astype(np.float32)
        shown = stored / ((1 << scanner.bits_stored) - 1)
        images.append(1 - shown if scanner.photometric == "MONOCHROME1" else shown)
    return torch.from_numpy(np.stack(images)[:, None])


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]


if __name__ == "__main__":
    main()
