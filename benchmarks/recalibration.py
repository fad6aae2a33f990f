"""What noise alone does to a recalibration and to a drop: calibrated scores, nothing changed.

``python benchmarks/recalibration.py`` prints the table of docs/results.md. Scores are the true
chances of their labels, so the slope to be found is 1, the intercept 0 and the drop within classes
0. A reference of six windows and the windows since an alarm are drawn from the same patients.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from fedrad import seeds
from fedrad.metrics import classification
from fedrad.privacy.accounting import plan_sigma
from fedrad.shift.blocks import Layout, window_edges
from fedrad.shift.diagnosis import KINDS
from fedrad.shift.drop import split
from fedrad.shift.estimates import counted
from fedrad.shift.recalibration import fitted
from fedrad.shift.reference import WINDOWS
from fedrad.shift.windows import Released, together
from fedrad.site_report import WINDOW, deviation

SEED, DELTA, APART = 135, 1e-5, 1.7
EPSILONS = (None, 4.0, 2.0, 1.0)
CASES = ((200, 1, 0.3), (100, 2, 0.3), (100, 3, 0.2))  # patients a window, windows, share positive
LAYOUT = Layout((), (), window_edges(200, 0.5), 0.5)
CONCEPT = dict.fromkeys(KINDS, 0.0) | {"concept": 1.0}
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Print one row for each epsilon and number of windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    draws = parser.parse_args().draws
    print(
        "| epsilon | windows, positive | slope, median [10 to 90 %] | log slope, rms | intercept "
        "| drop within classes | its interval holds 0 |"
    )
    print("|---" * 7 + "|")
    for epsilon in EPSILONS:
        sigma = plan_sigma(epsilon=epsilon, delta=DELTA, q=1.0, steps=1) if epsilon else 0.0
        for case in CASES:
            found = np.array([_drawn(sigma, case, draw) for draw in range(draws)])
            print(_row(str(epsilon or "none"), case, found), flush=True)


def _row(epsilon: str, case: tuple[int, int, float], found: Floats) -> str:
    patients, windows, share = case
    slope, intercept, drop, held = found[~np.isnan(found).any(axis=1)].T
    low, middle, high = np.quantile(slope, (0.1, 0.5, 0.9))
    cells = (
        epsilon,
        f"{windows} × {patients}, {share:g}",
        f"{middle:.2f} [{low:.2f}, {high:.2f}]",
        f"{np.sqrt(np.square(np.log(slope)).mean()):.2f}",
        f"{np.median(intercept):+.2f}",
        f"{drop.mean():+.4f} ± {drop.std() / len(drop) ** 0.5:.4f}",
        f"{held.mean():.3f}",
    )
    return f"| {' | '.join(cells)} |"


def _drawn(sigma: float, case: tuple[int, int, float], draw: int) -> tuple[float, ...]:
    """Return slope, intercept, drop within classes and whether its interval holds 0; NaN: none."""
    patients, windows, share = case
    rng = seeds.stream(SEED, str((sigma, case)), draw, "recalibration")
    before, after = (
        counted(together([_window(patients, share, sigma, rng) for _ in range(k)]), LAYOUT)
        for k in (WINDOWS, windows)
    )
    made = fitted(after, LAYOUT)
    told = split(before, after, LAYOUT, posterior=CONCEPT, rng=rng)
    if made is None or told is None:
        return (np.nan,) * 4
    part = next(part for part in told.parts if part.name == "concept")
    return made.slope, made.intercept, part.value, float(part.lo <= 0 <= part.hi)


def _window(patients: int, share: float, sigma: float, rng: np.random.Generator) -> Released:
    labels = (rng.random(patients) < share).astype(int)
    evidence = rng.standard_normal(patients) + APART * (labels - 0.5)
    scores = expit(logit(share) + APART * evidence)
    exact = classification.blocks(
        scores, labels, edges=LAYOUT.edges, operating_point=LAYOUT.operating_point
    )
    noisy = []
    for block in exact:
        spread = deviation(block, sigma=sigma, share=WINDOW[block.name])
        values = block.values + rng.normal(0.0, spread, block.values.shape)
        noisy.append(replace(block, values=values, sigma=spread))
    return Released(("w",), tuple(noisy))


if __name__ == "__main__":
    main()
