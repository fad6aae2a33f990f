"""Hostile sites against aggregation rules, on scikit-learn's digits, with and without privacy.

Ten sites with unlike shares of the classes (Dirichlet 0.5), two of them hostile; a network of
64-32-10 units; 25 rounds of local steps. Every rule of fedrad runs as a coordinator runs it:
updates in files, set aside, clipped, folded, every site with the same share. "FedAvg, as claimed"
is the control: shares by the number of images that a site says it has. Krum and MultiKrum are
Flower's, on the same updates (its Bulyan refuses fewer than 4 f + 3 sites). With --epsilon the
sites train with clipped and noised steps. A cell is the share of test images named rightly, in
percent, and half its 95 % interval over seeds; the last column is the share of patched images
that the last attack, the backdoor, has named 0. Run:

    python benchmarks/attacks.py --seeds 5
    python benchmarks/attacks.py --seeds 5 --epsilon 8
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.datasets import load_digits

from aggregator.aggregation import robust
from fedrad.federation import Rule
from fedrad.parameters import Parameters, write_safetensors
from fedrad.privacy.accounting import plan_sigma
from simulations.attacks import CHANGED, INFORMED, changed, informed

Array = npt.NDArray[np.float64]
SITES, HOSTILE, ROUNDS, STEPS, BATCH, RATE = 10, 2, 25, 10, 32, 0.3
CLIP, DELTA = 1.0, 1e-3
ATTACKS = {
    "none": "", "label flip": "", "sign flip": "sign-flip", "gauss": "gaussian",
    "scale 100": "scaling", "ALIE": "alie", "IPM": "ipm", "NaN": "nan", "lying weight": "",
    "replay": "", "clone": "clone", "backdoor": "",
}  # fmt: skip
FLIPS = ("label flip", "scale 100", "lying weight")
CLAIMED, PLAIN = "FedAvg, as claimed", "mean, no clip"
RULES = (CLAIMED, PLAIN, "geometric-median", "mean", "median", "trimmed-mean", "centred-clipping")
FLOWERS = ("krum", "multikrum")  # Bulyan wants 4 f + 3 sites: 11 here


@dataclass(frozen=True)
class Site:
    """One site's images, (n, 64), and classes, (n,)."""

    images: Array
    classes: npt.NDArray[np.int64]


def deal(seed: int) -> tuple[list[Site], Site]:
    """Return the sites and the common test set."""
    rng = np.random.default_rng(seed)
    images, classes = load_digits(return_X_y=True)
    order = rng.permutation(len(classes))
    images, classes = images[order] / 16.0, classes[order]
    test, images, classes = Site(images[:360], classes[:360]), images[360:], classes[360:]
    owner = np.empty(len(classes), np.int64)
    for digit in range(10):
        own = np.flatnonzero(classes == digit)
        cuts = np.cumsum(rng.dirichlet(np.full(SITES, 0.5)))[:-1] * len(own)
        owner[own] = np.searchsorted(cuts, np.arange(len(own)), side="right")
    sites = [Site(images[owner == n], classes[owner == n]) for n in range(SITES)]
    if min(len(site.classes) for site in sites) < 20:
        return deal(seed + 1000)
    return sites, test


def first_model(rng: np.random.Generator) -> Parameters:
    """Return the network before round 1."""
    return {
        "w1": rng.normal(0, np.sqrt(2 / 64), (64, 32)), "b1": np.zeros(32),
        "w2": rng.normal(0, np.sqrt(2 / 32), (32, 10)), "b2": np.zeros(10),
    }  # fmt: skip


def forward(model: Parameters, images: Array) -> tuple[Array, Array]:
    """Return hidden signals and class probabilities."""
    hidden = np.maximum(images @ model["w1"] + model["b1"], 0)
    scores = hidden @ model["w2"] + model["b2"]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def gradient(
    model: Parameters, site: Site, drawn: npt.NDArray[np.bool_], clip: float
) -> Parameters:
    """Return the sum of the drawn records' gradients, each clipped to ``clip``."""
    images, classes = site.images[drawn], site.classes[drawn]
    hidden, back = forward(model, images)
    back[np.arange(len(classes)), classes] -= 1
    under = (back @ model["w2"].T) * (hidden > 0)
    first = (under**2).sum(1) * ((images**2).sum(1) + 1)
    lengths = np.sqrt(first + (back**2).sum(1) * ((hidden**2).sum(1) + 1))
    scale = np.minimum(1, clip / np.maximum(lengths, 1e-12))[:, None]
    back, under = back * scale, under * scale
    return {"w1": images.T @ under, "b1": under.sum(0), "w2": hidden.T @ back, "b2": back.sum(0)}


def train(model: Parameters, site: Site, rng: np.random.Generator, sigma: float) -> Parameters:
    """Return one round's update of a site."""
    now = {name: tensor.copy() for name, tensor in model.items()}
    clip = CLIP if sigma else np.inf
    for _ in range(STEPS):
        drawn = rng.random(len(site.classes)) < BATCH / len(site.classes)
        for name, total in gradient(now, site, drawn, clip).items():
            noise = rng.normal(0, sigma * CLIP, total.shape) if sigma else 0.0
            now[name] -= RATE * (total + noise) / BATCH
    return {name: now[name] - model[name] for name in model}


def sent(
    attack: str, honest: list[Parameters], own: Parameters, rng: np.random.Generator
) -> Parameters:
    """Return what a hostile site sends in the place of its own update."""
    name = ATTACKS[attack]
    if name in CHANGED:
        return changed(own, name, rng)
    if name in INFORMED:
        return informed(honest, name)
    times = SITES / HOSTILE if attack == "backdoor" else 1.0
    return {name: times * tensor for name, tensor in own.items()}


def lying(site: Site, attack: str) -> Site:
    """Return what a hostile site trains on."""
    if attack in FLIPS:
        return Site(site.images, 9 - site.classes)
    if attack == "backdoor":
        half = len(site.classes) // 2
        shown = patched(site.images[:half])
        images = np.concatenate([shown, site.images[half:]])
        return Site(images, np.concatenate([np.zeros(half, np.int64), site.classes[half:]]))
    return site


def patched(images: Array) -> Array:
    """Return images with four white pixels in a corner."""
    found = images.copy()
    found[:, [0, 1, 8, 9]] = 1.0
    return found


def flowers(rule: str, updates: list[Parameters]) -> Parameters:
    """Return Flower's aggregate of the same updates."""
    from flwr.server.strategy.aggregate import aggregate_krum

    names = list(updates[0])
    results = [([update[name] for name in names], 1) for update in updates]
    found = aggregate_krum(results, HOSTILE, 0 if rule == "krum" else len(updates) - HOSTILE)
    return dict(zip(names, found, strict=True))


def fold(rule: str, updates: list[Parameters], claims: list[float], folder: Path) -> Parameters:
    """Return the aggregate, as a coordinator makes it; ``claims`` are said counts of images."""
    good = [all(np.isfinite(t).all() for t in update.values()) for update in updates]
    finite = [update for update, usable in zip(updates, good, strict=True) if usable]
    if rule in FLOWERS:
        return flowers(rule, finite)
    wish = Rule(name=rule)
    if rule in (CLAIMED, PLAIN):
        wish = Rule(name="mean", clip=1e9, ceiling=1e9)
    files = {f"s{number}": folder / f"{number}.safetensors" for number in range(len(finite))}
    for path, update in zip(files.values(), finite, strict=True):
        write_safetensors(path, {n: t.astype(np.float32) for n, t in update.items()})
    measured = robust.measure(files, wish)
    kept = measured.without(robust.too_large(measured, wish))
    said = dict(zip(files, np.compress(good, claims), strict=True))
    shares = {site: said[site] if rule == CLAIMED else 1.0 for site in kept.files}
    total = sum(shares.values())
    return robust.aggregate(kept, {site: share / total for site, share in shares.items()}, wish)


@lru_cache
def noise_for(epsilon: float, records: int) -> float:
    """Return the noise multiplier of a site's steps; 0 without privacy."""
    if not epsilon:
        return 0.0
    q = min(1.0, BATCH / records)
    return plan_sigma(epsilon=epsilon, delta=DELTA, q=q, steps=ROUNDS * STEPS)


@dataclass(frozen=True)
class Study:
    """One run: its rule, how two of its sites attack, its seed and its privacy."""

    rule: str
    attack: str
    seed: int
    epsilon: float


def last_model(study: Study, sites: list[Site], folder: Path) -> Parameters:
    """Return the model after the last round.

    Raises:
        SystemExit: A value of a model is not finite.
    """
    rng = np.random.default_rng([study.seed, 7])
    model, hostile = first_model(rng), range(HOSTILE)
    claims = [float(len(site.classes)) for site in sites]
    if study.attack == "lying weight":
        claims[:HOSTILE] = [100 * claim for claim in claims[:HOSTILE]]
    trained = [lying(site, study.attack) for site in sites[:HOSTILE]] + sites[HOSTILE:]
    sigmas = [noise_for(study.epsilon, len(site.classes)) for site in sites]
    first: list[Parameters] = []
    for _ in range(ROUNDS):
        made = [train(model, s, rng, sigma) for s, sigma in zip(trained, sigmas, strict=True)]
        first = first or made
        own = first if study.attack == "replay" else made
        bad = [sent(study.attack, made[HOSTILE:], own[n], rng) for n in hostile]
        step = fold(study.rule, [*bad, *made[HOSTILE:]], claims, folder)
        model = {name: model[name] + step[name] for name in model}
        if not all(np.isfinite(tensor).all() for tensor in model.values()):
            raise SystemExit(f"{study} made a model with a value that is not finite")
    return model


def scores(study: Study, folder: Path) -> tuple[float, float]:
    """Return the shares of test images named rightly, and of patched ones named 0."""
    sites, test = deal(study.seed)
    model = last_model(study, sites, folder)
    named = forward(model, test.images)[1].argmax(1)
    others = test.images[test.classes != 0]
    fooled = forward(model, patched(others))[1].argmax(1) == 0
    return 100 * float((named == test.classes).mean()), 100 * float(fooled.mean())


def cells(rule: str, wishes: argparse.Namespace, folder: Path) -> list[str]:
    """Return one row: a cell for each attack, and the share that the last one's patch names."""
    found = []
    for attack in wishes.attacks:
        studies = [Study(rule, attack, seed + 1, wishes.epsilon) for seed in range(wishes.seeds)]
        pairs = [scores(study, folder) for study in studies]
        found.append(interval([right for right, _ in pairs]))
    return [*found, interval([fooled for _, fooled in pairs])]


def interval(values: list[float]) -> str:
    """Return a mean and half its 95 % interval (Student, 4 degrees of freedom for 5 seeds)."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.1f} ± {half:.1f}"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epsilon", type=float, default=0.0, help="0: without privacy")
    parser.add_argument("--rules", nargs="*", default=[*RULES, *FLOWERS])
    parser.add_argument("--attacks", nargs="*", default=[*ATTACKS], choices=[*ATTACKS])
    wishes = parser.parse_args()
    names = [*wishes.attacks, "named by the patch"]
    print(f"| rule | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    memory = Path("/dev/shm")  # noqa: S108  # a private folder is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        for rule in wishes.rules:
            row = cells(rule, wishes, Path(name))
            print(f"| {rule} | {' | '.join(row)} |", flush=True)
    print("every saved model was finite")


if __name__ == "__main__":
    main()
