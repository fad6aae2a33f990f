"""Fit the diagnosis of kinds on phantoms of the calibration hospitals; writes ``kinds-1``.

python benchmarks/shiftbench/fit_kinds.py [--folder FOLDER] [--draws N]

Multinomial logistic regression with a small ridge; every kind counts alike and within a kind
every shift. Scored hospitals are never drawn here, and ``kinds.py`` draws no other.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from bank import HOSPITALS, SCORED, Floats
from kinds import balanced, cases
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from trials import Setting

from fedrad import constants
from fedrad.shift.diagnosis import CONSTANTS, FEATURES, KINDS

SEED, DRAWS, PATIENTS = 9001, 60, 12_800
EPSILONS = (1.0, 2.0, 4.0, 8.0)
RIDGE = 1e-4


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shiftbench")
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    sites = tuple(name for name in HOSPITALS if name not in SCORED)
    setting = Setting(folder=given.folder, patients=PATIENTS, seed=SEED, sites=sites)
    found = list(cases(setting, range(given.draws), EPSILONS))
    labels = [case.kind for case in found]
    weights = balanced([case.name for case in found], labels)
    rows = np.array([case.features() for case in found])
    _write(fit(rows, np.array([KINDS.index(label) for label in labels]), weights), given.draws)


def fit(rows: Floats, labels: np.ndarray, weights: Floats) -> Floats:
    """Return (kinds, features) weights of the regression that make the labels likeliest."""
    truth, size = np.eye(len(KINDS))[labels], (len(KINDS), rows.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        logits = rows @ flat.reshape(size).T
        value = -float(weights @ (log_softmax(logits, axis=1) * truth).sum(axis=1))
        slope = ((softmax(logits, axis=1) - truth) * weights[:, None]).T @ rows
        return value + RIDGE * float(flat @ flat), slope.ravel() + 2 * RIDGE * flat

    start = np.zeros(size[0] * size[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000})
    return np.asarray(found.x.reshape(size))


def _write(weights: Floats, draws: int) -> None:
    values = {
        "features": list(FEATURES),
        "weights": dict(zip(KINDS, _rounded(weights), strict=True)),
    }
    content = {
        "name": CONSTANTS,
        "version": 1,
        "source": (
            f"benchmarks/shiftbench/fit_kinds.py, {draws} draws of each of two phantom hospitals, "
            f"windows of about 200 patients at epsilon {EPSILONS}"
        ),
        "licence": "CC0-1.0",
        "values": values,
    }
    path = Path(constants.__file__).parent / f"{CONSTANTS}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(path)


def _rounded(weights: Floats) -> list[list[float]]:
    return [[round(float(value), 3) for value in row] for row in weights]


if __name__ == "__main__":
    main()
