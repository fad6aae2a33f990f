"""How sharp a metric release can be: the expected half-width of AUROC or Dice at one site.

The sums that a site would release are written down as their expectations under a stated
guess, with the noise that ``site_report`` would add, and read by the very code that will
read the real ones; its 95 % interval holds sampling and privacy noise together. Without
noise the same sums give the sampling part alone. Patients are one record each.

The guesses: a calibrated classifier whose evidence is normal with equal spread in both
classes, so that AUROC A means a distance d = sqrt(2) z(A) between them [1]; Dice of cases
spread as a beta distribution.

References:
    [1] Green and Swets, Signal Detection Theory and Psychophysics, 1966: the equal-variance
        normal model, A = Phi(d / sqrt(2)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from fedrad.metrics.measure import measure
from fedrad.metrics.metric import pooled
from fedrad.protocol.messages import Block
from fedrad.settings import refuse_problems
from fedrad.site_report import deviation, shares_of
from fedrad.task import Task

Floats = npt.NDArray[np.float64]

MOST_PATIENTS = 10_240  # up to which it is tried how many would do
_STEP = 5  # patients
_SEED = 0  # of the intervals' bootstrap: the same question has the same answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What is assumed of a model that does not exist yet."""

    quality: float = 0.85  # AUROC, or mean Dice
    prevalence: float = 0.5  # share of positive patients
    dice_spread: float = 0.1  # standard deviation of Dice over patients

    def __post_init__(self) -> None:
        refuse_problems("guess", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not 0.5 < self.quality < 1:
            yield f"quality must lie between 0.5 and 1, got {self.quality}"
        if not 0 < self.prevalence < 1:
            yield f"prevalence must lie between 0 and 1, got {self.prevalence}"
        if not 0 < self.dice_spread**2 < self.quality * (1 - self.quality):
            yield f"dice_spread {self.dice_spread} is none that a mean of {self.quality} can have"


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Half-widths of the 95 % interval of the primary metric; ``None``: not estimable."""

    patients: float  # audit patients behind it
    half_width: float | None  # sampling and privacy noise
    sampling: float | None  # sampling alone: what exact sums would have


def expected_precision(task: Task, patients: float, *, sigma: float, guess: Guess) -> Precision:
    """Return how sharp one release of one site is expected to be.

    Args:
        task: Its kind, edges and operating point.
        patients: Audit patients of the site.
        sigma: Noise multiplier of the release; 0: exact.
        guess: What is assumed of the model.
    """
    exact = expected_sums(task, patients, guess)
    return _precision(task, patients, exact, [_noisy(exact, sigma)])


def pooled_precision(
    task: Task, patients: Sequence[float], *, sigma: float, guess: Guess
) -> Precision:
    """Return how sharp the release of all sites pooled is expected to be."""
    every = [expected_sums(task, count, guess) for count in patients]
    exact = pooled(every)
    return _precision(task, sum(patients), exact, [_noisy(sums, sigma) for sums in every])


def enough_patients(task: Task, *, sigma: float, guess: Guess) -> int | None:
    """Return from how many audit patients on one site's release has an estimate.

    Args:
        task: As for ``expected_precision``.
        sigma: As there.
        guess: As there.

    Returns:
        A multiple of 5 that has one, 5 fewer having none; ``None`` if 10,240 have none.
    """

    def estimable(patients: int) -> bool:
        found = expected_precision(task, patients, sigma=sigma, guess=guess)
        return found.half_width is not None

    most = _STEP
    while not estimable(most):
        if most >= MOST_PATIENTS:
            return None
        most *= 2
    least = most // 2 if most > _STEP else 0  # without an estimate
    while most - least > _STEP:
        middle = (least + most) // 2 // _STEP * _STEP
        least, most = (least, middle) if estimable(middle) else (middle, most)
    return most


def expected_sums(task: Task, patients: float, guess: Guess) -> tuple[Block, ...]:
    """Return the sums of one release before noise, each as its expectation."""
    if task.task.kind == "segmentation":
        return _dice_sums(task, patients, guess)
    return _score_sums(task, patients, guess)


def primary(task: Task) -> str:
    """Return the metric that is planned for: ``auroc`` or ``dice_mean``."""
    return "dice_mean" if task.task.kind == "segmentation" else "auroc"


def _precision(
    task: Task, patients: float, exact: tuple[Block, ...], noisy: list[tuple[Block, ...]]
) -> Precision:
    return Precision(
        patients=patients,
        half_width=_half_width(task, pooled(noisy)),
        sampling=_half_width(task, exact),
    )


def _half_width(task: Task, blocks: tuple[Block, ...]) -> float | None:
    found = measure(blocks, task, np.random.default_rng(_SEED))
    metric = next(metric for metric in found if metric.name == primary(task))
    if metric.lo is None or metric.hi is None:
        return None
    return (metric.hi - metric.lo) / 2


def _noisy(blocks: tuple[Block, ...], sigma: float) -> tuple[Block, ...]:
    """State the noise of each block without drawing it: its expectation is 0."""
    if sigma == 0:
        return blocks
    shares = shares_of(blocks)
    return tuple(
        replace(block, sigma=deviation(block, sigma=sigma, share=shares[block.name]))
        for block in blocks
    )


def _score_sums(task: Task, patients: float, guess: Guess) -> tuple[Block, ...]:
    edges = np.asarray(task.evaluation.edges)
    ill = patients * guess.prevalence
    table = np.stack([(patients - ill) * _share(edges, guess, -1), ill * _share(edges, guess, 1)])
    called = edges[:-1] >= task.analysis.operating_point
    true_positive, false_positive = table[1, called].sum(), table[0, called].sum()
    operating = [
        true_positive,
        false_positive,
        ill - true_positive,
        patients - ill - false_positive,
    ]
    return (
        _block("n", [patients]),
        _block("positives", [ill]),
        _block("operating", operating),
        _block("table", table.ravel()),
    )


def _share(edges: Floats, guess: Guess, side: int) -> Floats:
    """Return the share of one class in every bin of the score; ``side`` is -1 or 1.

    A calibrated score is the posterior: its logit is the evidence, normal with mean
    side d² / 2 and deviation d, plus the logit of the prevalence.
    """
    distance = math.sqrt(2) * float(special.ndtri(guess.quality))
    evidence = special.logit(edges) - special.logit(guess.prevalence)
    below = special.ndtr((evidence - side * distance**2 / 2) / distance)
    return np.asarray(np.diff(below), dtype=np.float64)


def _dice_sums(task: Task, patients: float, guess: Guess) -> tuple[Block, ...]:
    mean = guess.quality
    size = mean * (1 - mean) / guess.dice_spread**2 - 1  # a + b of the beta distribution
    below = stats.beta.cdf(np.asarray(task.evaluation.edges), mean * size, (1 - mean) * size)
    histogram = [*(patients * np.diff(below)), 0.0, 0.0]  # no case without a reference
    return (
        _block("n", [patients]),
        _block("dice_histogram", histogram),
        _block("dice_sum", [patients * mean]),
    )


def _block(name: str, values: npt.ArrayLike) -> Block:
    return Block(name=name, values=np.asarray(values, dtype=np.float64), sigma=0.0, sensitivity=1.0)
