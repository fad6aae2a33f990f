"""Attack private training with canaries, and print what one run shows beside what is claimed.

Dirac canaries: patients whose gradients lie in directions of their own, through the real
round of training; who watches every step knows all of them, and each takes part by a coin.
Two verdicts stand side by side: the bound of one run (``one_run``), which is right with 95 %
confidence but can rise to its ceiling only; and ``audit_claim``, which compares what was seen with
what the ledger would be charged for, and accuses a sound run once in a million. The same is
done with planted defects. Canaries made of images are in ``input_canaries``. Run:

    python benchmarks/canaries.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from one_run import ceiling, guess, lower_bound
from scipy.stats import chi2, norm
from torch import nn

from fedrad import seeds
from fedrad.privacy.accounting import Event, epsilon, plan_sigma
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task, parse_task
from site_client.training import loop
from site_client.training.gradients import GradientSum, Tensors, clipped_sum
from site_client.training.losses import Loss
from site_client.training.private import ROUNDING_MARGIN, noised_mean
from site_client.training.source import PatientImages, Record

DELTA, FALSE_ALARM = 1e-5, 1e-6
NORM, RATE, LOUD, IMAGES = 0.7, 1e-4, 1e3, 2
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is charged: noise multiplier, chance of each patient, steps."""

    sigma: float
    q: float
    steps: int

    @property
    def epsilon(self) -> float:
        """Epsilon at ``DELTA``."""
        event = Event(mechanism="subsampled-gaussian", sigma=self.sigma, q=self.q, steps=self.steps)
        return epsilon([event], DELTA)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an observer has: canaries' coins, and their share of every released sum."""

    took_part: npt.NDArray[np.bool_]  # (m,)
    shares: Floats  # (steps, m), along each canary's direction, in units of C


@dataclass(frozen=True, slots=True)
class Defect:
    """What is planted: other parts of a step, another rate, or more rounds than claimed."""

    clipped: Callable[..., GradientSum] | None = None
    noised: Callable[..., Tensors] | None = None
    rate: float = 1.0
    times: int = 1


@dataclass(frozen=True, slots=True)
class Patients:
    """A source in memory."""

    records: list[Record]

    def __len__(self) -> int:
        return len(self.records)

    def record(self, index: int, /) -> Record:
        """Return patient ``index``."""
        return self.records[index]


def halved(
    clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
) -> Tensors:
    """Noise of half the deviation."""
    return noised_mean(clipped, rng, std=std / 2, divisor=divisor)


def reused(
    clipped: GradientSum, rng: np.random.Generator, *, std: float, divisor: float
) -> Tensors:
    """The same noise at every step."""
    del rng
    return noised_mean(clipped, noise_source(bytes(32)), std=std, divisor=divisor)


def unclipped(
    module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float, **rest: Any
) -> GradientSum:
    """No bound."""
    return clipped_sum(module, patients, loss, max_norm=1e9 * max_norm, **rest)


def by_image(
    module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float, **rest: Any
) -> GradientSum:
    """Each image bounded as if it were a patient."""
    images = [
        PatientImages(f"{patient.key}-{place}", image[None], patient.label)
        for patient in patients
        for place, image in enumerate(patient.images)
    ]
    return clipped_sum(module, images, loss, max_norm=max_norm, **rest)


DEFECTS = {
    "none": Defect(),
    "noise halved": Defect(noised=halved),
    "one noise for every step": Defect(noised=reused),
    "no clipping": Defect(clipped=unclipped),
    "clipped by image": Defect(clipped=by_image),
    "three rounds charged as one": Defect(times=3),
    "drawn twice as often as charged": Defect(rate=2.0),
}


def play(claim: Claim, defect: Defect, *, canaries: int, seed: int) -> Seen:
    """Train on the canaries whose coin says so, one released step after the other.

    The network has one input a canary, so that a canary's gradient, ``LOUD`` and clipped, lies
    in a direction that no other has.
    """
    coins = seeds.stream(seed, "canaries", 0, "coins").random(canaries) < 0.5
    patients = Patients([_dirac(i, canaries) for i in np.flatnonzero(coins).tolist()])
    task, module = one_step_task(), nn.Linear(canaries, 2, bias=False)
    shares = []
    with planted(defect):
        for step in range(1, claim.steps * defect.times + 1):
            nn.init.zeros_(module.weight)
            plan = _plan(claim, defect, seed=seed, step=step)
            update = loop.train_round(module, patients, task, plan=plan).update["weight"]
            along = (update[1] - update[0]).astype(np.float64) / np.sqrt(2)
            shares.append(along * plan.expected_batch_patients / (RATE * NORM))
    return Seen(coins, np.array(shares))


def likelihood(seen: Seen, claim: Claim) -> Floats:
    """Return the log-likelihood ratio of taking part, (m,): the best score for a sound run."""
    exponent = (2 * seen.shares - 1) / (2 * claim.sigma**2)
    return np.logaddexp(
        np.log1p(-claim.q) if claim.q < 1 else -np.inf, np.log(claim.q) + exponent
    ).sum(0)


def audit_claim(seen: Seen, claim: Claim) -> list[str]:
    """Return how what was seen contradicts the claim; nothing if it does not.

    Under the claim, the shares of a canary that was out are independent normals of deviation
    sigma, and the sum of one that was in has the mean q times steps.
    """
    out, took = seen.shares[:, ~seen.took_part], seen.shares[:, seen.took_part]
    level = FALSE_ALARM / 7
    threshold = float(norm.isf(level))
    findings = [
        *_energy("a release", out.ravel() / claim.sigma, level),
        *_energy("all releases", out.sum(0) / claim.sigma / np.sqrt(claim.steps), level),
    ]
    mean, expected = float(took.sum(0).mean()), claim.q * claim.steps
    spread = np.sqrt(claim.steps * (claim.sigma**2 + claim.q * (1 - claim.q)) / took.shape[1])
    if abs(mean - expected) > threshold * (1 + ROUNDING_MARGIN) * spread:
        findings.append(f"a patient's weight is {mean / expected:.2f} of what was charged")
    pairs = (out[:-1] * out[1:]).sum() / (out[:-1].std() * out[1:].std() * np.sqrt(out[1:].size))
    if abs(pairs) > threshold:
        findings.append("noise goes together from step to step")
    return findings


def _energy(what: str, noise: Floats, level: float) -> Iterator[str]:
    """Yield how ``noise`` is not of deviation 1, or of the margin more that the code adds."""
    energy, count = float((noise**2).sum()), noise.size
    found = f"noise of {what} is {np.sqrt(energy / count):.2f} of what was charged"
    if (
        chi2.cdf(energy, count) < level
        or chi2.sf(energy / (1 + ROUNDING_MARGIN) ** 2, count) < level
    ):
        yield found


def planned_guesses(claim: Claim, canaries: int) -> int:
    """Return how many canaries to guess, chosen before any run.

    The number is the best for ideal runs with half of the claimed noise: an audit is there to
    find such. Few guesses suit little noise less, for their ceiling is low.
    """
    rng, choices = np.random.default_rng(0), np.linspace(0.02, 1, 50) * canaries
    found = np.zeros(len(choices))
    for _ in range(5):
        took_part = rng.random(canaries) < 0.5
        drawn = (rng.random((claim.steps, canaries)) < claim.q) & took_part
        noise = claim.sigma / 2 * rng.standard_normal(drawn.shape)
        seen = Seen(took_part, drawn + noise)
        found += [bound_of(seen, likelihood(seen, claim), int(choice)) for choice in choices]
    return int(choices[found.argmax()])


def bound_of(seen: Seen, scores: Floats, guesses: int) -> float:
    """Return the lower bound from guessing by ``scores``."""
    made, right = guess(scores, seen.took_part, guesses)
    return lower_bound(DELTA, canaries=len(scores), guesses=made, right=right)


def _dirac(index: int, canaries: int) -> PatientImages:
    images = np.zeros((IMAGES, canaries), np.float32)
    images[:, index] = LOUD
    return PatientImages(f"c{index:06d}", images, label=1)


def planted(defect: Defect) -> ExitStack:
    """Put the defect into the real round until the context closes."""
    stack = ExitStack()
    for name, part in (("clipped_sum", defect.clipped), ("noised_mean", defect.noised)):
        if part is not None:
            stack.enter_context(patch.object(loop, name, part))
    return stack


def _plan(claim: Claim, defect: Defect, *, seed: int, step: int) -> loop.StepPlan:
    return loop.StepPlan(
        q=min(1.0, claim.q * defect.rate),
        sigma=claim.sigma,
        steps=1,
        expected_batch_patients=100.0,
        max_grad_norm=NORM,
        batches=seeds.stream(seed, "canaries", step, "batches"),
        noise=noise_source(seeds.key(seed, "canaries", step, "noise")),
    )


def one_step_task() -> Task:
    """Return a classification task of plain SGD with rate ``RATE``, one step a round."""
    return parse_task(
        {
            "schema": 1,
            "task": {"name": "canaries", "kind": "classification", "classes": ["no", "yes"],
                     "positive": "yes"},
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [32, 32], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
            "model": {"name": "filter_bank_cnn"},
            "training": {"steps": 1, "expected_batch_patients": 100,
                         "optimiser": {"name": "sgd", "rate": RATE}},
            "federation": {"rounds": 1},
            "privacy": {"enabled": True},
            "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
            "analysis": {"primary": "auroc"},
        }
    )  # fmt: skip


ASKED = ((1.0, 1.0, 10), (4.0, 1.0, 10), (4.0, 0.1, 60), (8.0, 0.1, 60))  # epsilon, q, steps


def rows(claim: Claim, canaries: int, repeats: int) -> Iterator[str]:
    """Yield one row of the table for each defect."""
    guesses, claimed = planned_guesses(claim, canaries), claim.epsilon
    top = lower_bound(DELTA, canaries=canaries, guesses=guesses, right=guesses)
    for name, defect in DEFECTS.items():
        if defect.rate > 1 and claim.q == 1:
            continue
        runs = [play(claim, defect, canaries=canaries, seed=seed) for seed in range(repeats)]
        bounds = [bound_of(seen, likelihood(seen, claim), guesses) for seen in runs]
        findings = [audit_claim(seen, claim) for seen in runs]
        shown = " ".join(f"{bound:.2f}" for bound in bounds)
        alarms = sum(bound > claimed for bound in bounds)
        accused = f"{sum(map(bool, findings))} of {repeats}"
        found = next(filter(None, findings), ["nothing"])[0]
        yield (
            f"| {claim.q:g}, {claim.steps}, {claim.sigma:g} | {claimed:.2f} | {name} | {shown} "
            f"| {top:.2f} | {alarms} of {repeats} | {accused}: {found} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canaries", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    top = ceiling(DELTA, canaries=wishes.canaries)
    print(
        f"{wishes.canaries} canaries, delta {DELTA:g}: no run can show more than {top:.2f}\n\n"
        "| q, steps, noise multiplier | claimed epsilon | planted | lower bounds, 95 % "
        "| their ceiling | bound above claim | audit_claim accuses |\n|---|---|---|---|---|---|---|"
    )
    for asked, q, steps in ASKED:
        sigma = plan_sigma(epsilon=asked, delta=DELTA, q=q, steps=steps)
        claim = Claim(sigma=sigma, q=q, steps=steps)
        for row in rows(claim, wishes.canaries, wishes.repeats):
            print(row, flush=True)


if __name__ == "__main__":
    main()
