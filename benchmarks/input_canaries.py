"""Attack real training with canaries made of images: blank ones with noise, and mislabelled ones.

A small network learns from phantom patients for as many rounds as a study has, at patient
level, through the real round. Canaries take part by coins. The observer knows every model, every
ordinary patient and every canary, so all their gradients; what is left of an update is a linear
model in the coins, whose best linear estimate is each canary's score. The bound of one run
(``one_run``) stands beside the claim. Run:

    python benchmarks/input_canaries.py
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from canaries import DEFECTS, DELTA, Claim, Defect, Patients, one_step_task, planted
from one_run import guess, lower_bound
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.func import functional_call, grad, vmap

from fedrad import seeds
from fedrad.models.networks import build
from fedrad.privacy.accounting import plan_sigma
from fedrad.privacy.mechanisms import noise_source
from site_client.training import loop
from site_client.training.losses import cross_entropy
from site_client.training.source import PatientImages, kept_features

SIZE, NORM, ORDINARY, GUESSES = 32, 0.5, 100, 0.1
RATE = 0.5


@dataclass(frozen=True, slots=True)
class Guessed:
    """The canaries' coins, (m,), and scores, higher where taking part is likelier."""

    took_part: np.ndarray
    scores: np.ndarray


def patients(count: int, kind: str, rng: np.random.Generator) -> list[PatientImages]:
    """Draw patients with one image: ``ordinary``, ``mislabelled`` or ``blank`` but for noise."""
    y, x = np.mgrid[:SIZE, :SIZE]
    drawn = []
    for index in range(count):
        label = index % 2
        row, column = rng.uniform(8, SIZE - 8, 2)
        image = rng.normal(0.4, 0.08, (SIZE, SIZE))
        if kind != "blank":
            image += label * 0.4 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)
        shown = label if kind == "ordinary" else 1 - label
        images = image[None, None].astype(np.float32)
        drawn.append(PatientImages(f"{kind}{index:05d}", images, shown))
    return drawn


def play(claim: Claim, defect: Defect, *, kind: str, canaries: int, seed: int) -> Guessed:
    """Train for ``claim.steps`` rounds of one step; return coins and scores."""
    rng = seeds.stream(seed, kind, 0, "patients")
    ordinary, watched = patients(ORDINARY, "ordinary", rng), patients(canaries, kind, rng)
    coins = rng.random(canaries) < 0.5
    task, took = one_step_task(), [watched[i] for i in np.flatnonzero(coins)]
    module = build(task, seed=seed)
    source = kept_features(module, Patients([*ordinary, *took]), task)
    known = [_features(module, group) for group in (ordinary, watched)]
    estimate = _Estimate(claim, canaries)
    bound = 1e9 if defect.clipped else NORM
    with planted(defect):
        for step in range(1, claim.steps + 1):
            theirs, own = (_gradients(module, *group, bound) for group in known)
            plan = loop.StepPlan(
                q=claim.q,
                sigma=claim.sigma,
                steps=1,
                expected_batch_patients=claim.q * len(source),
                max_grad_norm=NORM,
                batches=seeds.stream(seed, kind, step, "batches"),
                noise=noise_source(seeds.key(seed, kind, step, "noise")),
                rate=RATE,
            )
            update = loop.train_round(module, source, task, plan=plan).update
            flat = np.concatenate([tensor.ravel() for tensor in update.values()])
            estimate.see(-flat * plan.expected_batch_patients / RATE, theirs, own)
    return Guessed(coins, estimate.scores())


class _Estimate:
    """The best linear estimate of the coins from what all updates show.

    A released sum is the drawn patients' gradients and noise. Given the coins, a patient that
    takes part weighs q in the mean and q (1 - q) in the covariance.
    """

    def __init__(self, claim: Claim, canaries: int) -> None:
        self._q, self._noise = claim.q, (claim.sigma * NORM) ** 2
        self._precision, self._toward = 4 * np.eye(canaries), np.zeros(canaries)

    def see(self, released: np.ndarray, theirs: np.ndarray, own: np.ndarray) -> None:
        """Take in one released sum (d,), with the gradients of others (n, d) and canaries."""
        q = self._q
        left = released - q * theirs.sum(0) - q / 2 * own.sum(0)
        drawn = np.sqrt(q * (1 - q)) * np.concatenate([theirs, own / np.sqrt(2)])
        inner = self._noise * np.eye(len(drawn)) + drawn @ drawn.T
        weighed = own - (own @ drawn.T) @ np.linalg.solve(inner, drawn)  # times the noise
        self._precision += q**2 * weighed @ own.T / self._noise
        self._toward += q * weighed @ left / self._noise

    def scores(self) -> np.ndarray:
        """Return the estimates, (m,)."""
        return np.linalg.solve(self._precision, self._toward)


def _features(module: nn.Module, group: list[PatientImages]) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(np.concatenate([patient.images for patient in group]))
    with torch.no_grad():
        features = module.stem(images)  # type: ignore[operator]
    return features, torch.tensor([patient.label for patient in group])


def _gradients(
    module: nn.Module, features: torch.Tensor, truth: torch.Tensor, bound: float
) -> np.ndarray:
    """Return each patient's clipped gradient at the current model, (n, d) float64."""
    head = module.head
    weights = {name: tensor.detach() for name, tensor in head.named_parameters()}

    def loss(
        given: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        return cross_entropy(functional_call(head, given, (image[None],)), label[None]).mean()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, features, truth)
    flat = torch.cat([tensor.flatten(1) for tensor in found.values()], 1).double()
    return (flat * (bound / flat.norm(dim=1, keepdim=True)).clamp(max=1)).numpy()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canaries", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    guesses = int(GUESSES * wishes.canaries)
    top = lower_bound(DELTA, canaries=wishes.canaries, guesses=guesses, right=guesses)
    print(f"{wishes.canaries} canaries, {ORDINARY} others, {guesses} guesses: at most {top:.2f}")
    print("\n| q, rounds, noise multiplier | claimed epsilon | canaries | planted ", end="")
    print("| AUROC of the attack | lower bounds, 95 % |\n|---|---|---|---|---|---|")
    sigma = plan_sigma(epsilon=8.0, delta=DELTA, q=0.5, steps=wishes.rounds)
    claim = Claim(sigma=sigma, q=0.5, steps=wishes.rounds)
    for kind in ("mislabelled", "blank"):
        for name in ("none", "noise halved", "no clipping"):
            runs = [
                play(claim, DEFECTS[name], kind=kind, canaries=wishes.canaries, seed=seed)
                for seed in range(wishes.repeats)
            ]
            areas = " ".join(f"{roc_auc_score(run.took_part, run.scores):.2f}" for run in runs)
            bounds = " ".join(f"{_bound(run, guesses):.2f}" for run in runs)
            print(
                f"| {claim.q:g}, {claim.steps}, {claim.sigma:g} | {claim.epsilon:.2f} | {kind} "
                f"| {name} | {areas} | {bounds} |",
                flush=True,
            )


def _bound(run: Guessed, guesses: int) -> float:
    made, right = guess(run.scores, run.took_part, guesses)
    return lower_bound(DELTA, canaries=len(run.scores), guesses=made, right=right)


if __name__ == "__main__":
    main()
