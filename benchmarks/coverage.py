"""How often 95 % intervals hold the truth: releases of 500 patients with the noise of epsilon 4.

``python benchmarks/coverage.py`` prints the table of docs/results.md. Each draw takes 500
patients from a population of 400,000 whose metrics are known from the patients themselves
(scikit-learn, numpy), counts them as a site does, adds the noise of a release and reads the
metrics as the aggregator does. Scores are made up: nothing here says how good a model is.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fedrad import seeds
from fedrad.metrics import classification, segmentation
from fedrad.metrics.metric import Metric, proportion
from fedrad.privacy.accounting import plan_sigma
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import window_edges
from fedrad.site_report import WINDOW, WINDOW_OUTLINES, deviation, noised

SEED, PEOPLE, PATIENTS, EPSILON, DELTA = 120, 400_000, 500, 4.0, 1e-5
AUDITS = 4  # releases that share the epsilon of audit patients
POINT = 0.5
DICE_EDGES = (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 1)
WIDE, EVEN = (0.0, 0.2, 0.5, 0.6, 0.8, 1.0), tuple(k / 10 for k in range(11))
LUNGS = (0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.92, 0.94, 0.96, 0.98, 1)
CROWDED = {  # bins, mean and deviation of normal Dice that lie in few of them, off their middles
    "five wide bins, Dice about .93": (WIDE, 0.93, 0.03),
    "ten even bins, about .975": (EVEN, 0.975, 0.01),
    "the bins of lungs, about .965": (LUNGS, 0.965, 0.012),
    "the bins of lungs, about .2": (LUNGS, 0.2, 0.04),
}
Floats = npt.NDArray[np.float64]
Population = tuple[Floats, Floats]  # scores and labels, or Dice and whether nothing was predicted
Report = tuple[Block, ...]
Release = Callable[[Population, int], Sequence[Metric]]


def main() -> None:
    """Print one row for each metric of each kind of release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", default="", help="a part of a row's name")
    given = parser.parse_args()
    print("| release | metric | truth | draws with a value | coverage, 95 % interval | width |")
    print("|---|---|---|---|---|---|")
    for name, (population, release, truth) in _cells().items():
        if given.only in name:
            _row(name, population(), (release, truth), given.draws)


def _row(
    name: str,
    population: Population,
    how: tuple[Release, Callable[[Population], dict[str, float]]],
    draws: int,
) -> None:
    release, true = how
    truth = true(population)
    held: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    for draw in range(draws):
        rng = seeds.stream(SEED, name, draw, "patients")
        people = rng.integers(0, PEOPLE, PATIENTS)
        for metric in release((population[0][people], population[1][people]), draw):
            if metric.name in truth and metric.lo is not None and metric.hi is not None:
                held[metric.name].append(metric.lo <= truth[metric.name] <= metric.hi)
                widths[metric.name].append(metric.hi - metric.lo)
    for metric_name, value in truth.items():
        hits = held[metric_name]
        share = proportion(sum(hits), len(hits), 0.0)
        said = f"{share.value:.3f} [{share.lo:.3f}, {share.hi:.3f}]" if hits else "not estimable"
        width = f"{np.median(widths[metric_name]):.3f}" if hits else "–"
        cells = (name, metric_name, f"{value:.3f}", f"{len(hits)} of {draws}", said, width)
        print(f"| {' | '.join(cells)} |", flush=True)


def _cells() -> dict[
    str, tuple[Callable[[], Population], Release, Callable[..., dict[str, float]]]
]:
    """Return each row's population, release and truth by name."""
    common, rare = ((0.3, 1.2, 1.0), (0.1, 1.5, 1.4))
    kinds = {"audit": _audit, "window": _window}
    found = {}
    for text, how in (("30 % positive", common), ("10 % positive, scores too extreme", rare)):
        for kind, release in kinds.items():
            found[f"{kind}, {text}"] = (lambda how=how: _people(*how), release, _truth)
    found["audit of outlines"] = (_outlines, _dice(DICE_EDGES, _dice_audit), _dice_truth)
    found["window of outlines"] = (_outlines, _dice(DICE_EDGES, _dice_window), _dice_truth)
    for text, (edges, mean, spread) in CROWDED.items():
        for kind, noise in (("audit", _dice_audit), ("window", _dice_window)):
            people = partial(_crowded, mean, spread)
            found[f"{kind} of outlines, {text}"] = (people, _dice(edges, noise), _dice_mean)
    return found


def _people(share: float, apart: float, extreme: float) -> Population:
    """Draw labels, and scores that are true chances or more extreme than those."""
    rng = seeds.stream(SEED, str((share, apart, extreme)), 0, "population")
    labels = rng.random(PEOPLE) < share
    evidence = rng.normal(size=PEOPLE) + apart * labels
    chance = logit(share) + apart * evidence - apart**2 / 2
    return expit(extreme * chance), labels.astype(np.float64)


def _truth(population: Population) -> dict[str, float]:
    scores, labels = population
    cut = np.clip(scores, 0.01, 0.99)
    cox = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(cut)[:, None], labels)
    warm = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8)
    bins = np.digitize(scores, window_edges(PATIENTS, POINT)[1:-1])
    errors = np.bincount(bins, labels - scores)
    return {
        "auroc": float(roc_auc_score(labels, scores)),
        "auprc": float(average_precision_score(labels, scores)),
        "oe_ratio": float(labels.sum() / scores.sum()),
        "calibration_slope": float(cox.coef_[0, 0]),
        "temperature": float(1 / warm.fit(logit(cut)[:, None], labels).coef_[0, 0]),
        "brier": float(brier_score_loss(labels, scores)),
        "ece": float(np.abs(errors).sum() / len(scores)),
        "prevalence": float(labels.mean()),
        "sensitivity": float((scores[labels == 1] >= POINT).mean()),
    }


def _counted(people: Population) -> tuple[Block, ...]:
    scores, labels = people
    edges = window_edges(PATIENTS, POINT)
    return classification.blocks(scores, labels, edges=edges, operating_point=POINT)


def _audit(people: Population, draw: int) -> Sequence[Metric]:
    sigma = plan_sigma(epsilon=EPSILON, delta=DELTA, q=1.0, steps=AUDITS)
    return _read(noised(_counted(people), sigma=sigma, rng=_noise(draw)), draw)


def _window(people: Population, draw: int) -> Sequence[Metric]:
    return _read(_noised_window(_counted(people), WINDOW, draw), draw)


def _noised_window(exact: Sequence[Block], shares: Mapping[str, float], draw: int) -> Report:
    """Noise a window's counts; what it tells of images is another share of the same release."""
    sigma = plan_sigma(epsilon=EPSILON, delta=DELTA, q=1.0, steps=1)
    rng, noisy = _noise(draw), []
    for block in exact:
        spread = deviation(block, sigma=sigma, share=shares[block.name])
        values = block.values + rng.normal(0.0, spread, block.values.shape)
        noisy.append(Block(name=block.name, values=values, sigma=spread, sensitivity=1.0))
    return tuple(noisy)


def _read(report: tuple[Block, ...], draw: int) -> Sequence[Metric]:
    rng = seeds.stream(SEED, "", draw, "intervals")
    edges = window_edges(PATIENTS, POINT)
    return classification.measure(report, edges=edges, operating_point=POINT, rng=rng)


def _outlines() -> Population:
    """Draw Dice of cases: most good, some poor, a few failures; one in twenty has no reference."""
    rng = seeds.stream(SEED, "outlines", 0, "population")
    kind = rng.random(PEOPLE)
    dice = np.where(kind < 0.06, rng.uniform(0, 0.5, PEOPLE), rng.beta(14, 2, PEOPLE))
    dice[kind > 0.95] = np.nan
    return dice, (rng.random(PEOPLE) < 0.7).astype(np.float64)


def _dice_truth(population: Population) -> dict[str, float]:
    dice = population[0][~np.isnan(population[0])]
    return {
        "dice_mean": float(dice.mean()),
        "dice_p50": float(np.quantile(dice, 0.5)),
        "dice_p10": float(np.quantile(dice, 0.1)),
        "failure_rate": float((dice < segmentation.FAILURE).mean()),
    }


def _crowded(mean: float, spread: float) -> Population:
    """Draw normal Dice."""
    rng = seeds.stream(SEED, str((mean, spread)), 0, "population")
    return np.clip(rng.normal(mean, spread, PEOPLE), 0, 1), np.zeros(PEOPLE)


def _dice_mean(population: Population) -> dict[str, float]:
    return {"dice_mean": float(population[0].mean())}


def _dice(edges: tuple[float, ...], noise: Callable[[Sequence[Block], int], Report]) -> Release:
    """Return how a release of outlines over these bins is made and read."""

    def release(people: Population, draw: int) -> Sequence[Metric]:
        exact = segmentation.blocks(people[0], people[1] > 0, edges=edges)
        rng = seeds.stream(SEED, "", draw, "intervals")
        return segmentation.measure(noise(exact, draw), edges=edges, rng=rng)

    return release


def _dice_audit(exact: Sequence[Block], draw: int) -> Report:
    sigma = plan_sigma(epsilon=EPSILON, delta=DELTA, q=1.0, steps=AUDITS)
    return noised(tuple(exact), sigma=sigma, rng=_noise(draw))


def _dice_window(exact: Sequence[Block], draw: int) -> Report:
    return _noised_window(exact, WINDOW_OUTLINES, draw)


def _noise(draw: int) -> np.random.Generator:
    return noise_source(seeds.key(SEED, "coverage noise", draw, 0, ""))


if __name__ == "__main__":
    main()
