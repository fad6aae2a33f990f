"""How often the release gate says what: models that are the same, better, and worse somewhere.

``python benchmarks/shiftbench/gates.py`` prints the table of docs/results.md. A site's patients
are drawn, not rendered: the gate sees who is called right by which model and nothing else.
"""

from __future__ import annotations

import argparse

import numpy as np
from draws import multiplier

from fedrad import seeds
from fedrad.metrics.metric import proportion
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.gate import discordance, judge
from fedrad.site_report import noised

SEED = 72
PREVALENCE, RIGHT, DISAGREE = 0.4, 0.85, 0.06  # DISAGREE: share on which two equal models differ
ANSWERS = ("promote", "harm shown", "cannot tell")


def main() -> None:
    """Print how often each answer is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    given = parser.parse_args()
    print("| model | sites | patients a site | epsilon | " + " | ".join(ANSWERS) + " |")
    print("|---|---|---|---|" + "---|" * len(ANSWERS))
    for loss in (0.0, 0.05):
        for sites in (4, 12):
            for patients in (500, 2000):
                row(loss, sites=sites, patients=patients, studies=given.studies)


def row(loss: float, *, sites: int, patients: int, studies: int, epsilon: float = 4.0) -> None:
    """Print one row: the new model is worse by ``loss`` at one site and the same elsewhere."""
    said = [study(loss, sites, patients, (epsilon, k)) for k in range(studies)]
    cells = []
    for answer in ANSWERS:
        found = proportion(said.count(answer), studies, 0.0)
        cells.append(f"{found.value:.3f} [{max(0, found.lo):.3f}, {min(1, found.hi):.3f}]")
    name = f"{100 * loss:g} points worse at one site" if loss else "unchanged"
    print(f"| {name} | {sites} | {patients} | {epsilon:g} | {' | '.join(cells)} |", flush=True)


def study(loss: float, sites: int, patients: int, which: tuple[float, int]) -> str:
    """Return the gate's answer in one study."""
    epsilon, number = which
    rng = seeds.stream(SEED, "", number, f"gate {loss} {sites} {patients} {epsilon}")
    said = {}
    for site in range(sites):
        blocks = _site(rng, patients, loss if site == 0 else 0.0)
        key = seeds.key(SEED, "gate noise", number, site, str((loss, sites, patients, epsilon)))
        said[f"site {site}"] = noised(blocks, sigma=multiplier(epsilon), rng=noise_source(key))
    return judge(said).decision


def _site(rng: np.random.Generator, patients: int, loss: float) -> tuple[Block, ...]:
    """Return counts of patients whom both models call with the same skill, but for ``loss``."""
    labels = (rng.uniform(size=patients) < PREVALENCE).astype(int)
    right = rng.uniform(size=patients) < RIGHT
    swapped = rng.uniform(size=patients)
    lost = right & (swapped < (DISAGREE / 2 + loss) / RIGHT)
    gained = ~right & (swapped < DISAGREE / 2 / (1 - RIGHT))
    after = (right & ~lost) | gained
    before_score = np.where(right, labels, 1 - labels)
    after_score = np.where(after, labels, 1 - labels)
    return discordance(before_score, after_score, labels, operating_point=0.5)


if __name__ == "__main__":
    main()
