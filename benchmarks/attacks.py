"""Hostile sites against aggregation rules, on scikit-learn's digits, with and without privacy.

Ten sites with unlike shares of the classes (Dirichlet 0.5), two of them hostile; a network of
64-32-10 units; 25 rounds of local steps. Every rule of fedrad runs as a coordinator runs it:
updates in files, set aside, clipped, folded. Krum and MultiKrum are Flower's, on the same updates
(its Bulyan refuses fewer than 4 f + 3 sites). With --epsilon the sites train with clipped and
noised steps. Run:

    python benchmarks/attacks.py --seeds 5
    python benchmarks/attacks.py --seeds 5 --epsilon 8
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from aggregator.aggregation import robust
from fedrad.federation import Rule
from fedrad.parameters import Parameters, write_safetensors
from fedrad.privacy.accounting import plan_sigma

Array = npt.NDArray[np.float64]
SITES, HOSTILE, ROUNDS, STEPS, BATCH, RATE = 10, 2, 25, 10, 32, 0.3
CLIP, DELTA = 1.0, 1e-3
ATTACKS = ("none", "label flip", "sign flip", "gauss", "scale 100", "ALIE", "IPM", "NaN")
RULES = ("mean, no clip", "mean", "geometric-median", "median", "trimmed-mean", "centred-clipping")
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


def spoil(
    attack: str, honest: list[Parameters], own: Parameters, rng: np.random.Generator
) -> Parameters:
    """Return what a hostile site sends."""

    def each(work: Callable[[str], Array]) -> Parameters:
        return {name: work(name) for name in own}

    stacked = {name: np.stack([update[name] for update in honest]) for name in own}
    return {
        "none": lambda: own,
        "label flip": lambda: own,
        "sign flip": lambda: each(lambda name: -4 * own[name]),
        "gauss": lambda: each(lambda name: rng.normal(0, 5, own[name].shape)),
        "scale 100": lambda: each(lambda name: 100 * own[name]),
        "ALIE": lambda: each(lambda name: stacked[name].mean(0) - 1.5 * stacked[name].std(0)),
        "IPM": lambda: each(lambda name: -stacked[name].mean(0)),
        "NaN": lambda: each(lambda name: np.full_like(own[name], np.nan)),
    }[attack]()


def flowers(rule: str, updates: list[Parameters]) -> Parameters:
    """Return Flower's aggregate of the same updates."""
    from flwr.server.strategy.aggregate import aggregate_krum

    names = list(updates[0])
    results = [([update[name] for name in names], 1) for update in updates]
    found = aggregate_krum(results, HOSTILE, 0 if rule == "krum" else len(updates) - HOSTILE)
    return dict(zip(names, found, strict=True))


def fold(rule: str, updates: list[Parameters], folder: Path) -> Parameters:
    """Return the aggregate, as a coordinator makes it."""
    finite = [u for u in updates if all(np.isfinite(t).all() for t in u.values())]
    if rule in FLOWERS:
        return flowers(rule, finite)
    wish = Rule(name="mean", clip=1e9, ceiling=1e9) if rule == "mean, no clip" else Rule(name=rule)
    files = {f"s{number}": folder / f"{number}.safetensors" for number in range(len(finite))}
    for path, update in zip(files.values(), finite, strict=True):
        write_safetensors(path, {n: t.astype(np.float32) for n, t in update.items()})
    measured = robust.measure(files, wish)
    kept = measured.without(robust.too_large(measured, wish))
    return robust.aggregate(kept, dict.fromkeys(kept.files, 1 / len(kept.files)), wish)


@lru_cache
def noise_for(epsilon: float, records: int) -> float:
    """Return the noise multiplier of a site's steps; 0 without privacy."""
    if not epsilon:
        return 0.0
    q = min(1.0, BATCH / records)
    return plan_sigma(epsilon=epsilon, delta=DELTA, q=q, steps=ROUNDS * STEPS)


def accuracy(rule: str, attack: str, seed: int, epsilon: float, folder: Path) -> float:
    """Return the share of test images that the last model names rightly."""
    sites, test = deal(seed)
    rng = np.random.default_rng([seed, 7])
    model = first_model(rng)
    if attack in ("label flip", "scale 100"):
        flipped = [Site(site.images, 9 - site.classes) for site in sites[:HOSTILE]]
        sites = flipped + sites[HOSTILE:]
    sigmas = [noise_for(epsilon, len(site.classes)) for site in sites]
    for _ in range(ROUNDS):
        updates = [train(model, s, rng, sigma) for s, sigma in zip(sites, sigmas, strict=True)]
        honest = updates[HOSTILE:]
        bad = [spoil(attack, honest, own, rng) for own in updates[:HOSTILE]]
        step = fold(rule, [*bad, *honest], folder)
        model = {name: model[name] + step[name] for name in model}
    _, shares = forward(model, test.images)
    return float((shares.argmax(1) == test.classes).mean())


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epsilon", type=float, default=0.0, help="0: without privacy")
    parser.add_argument("--rules", nargs="*", default=[*RULES, *FLOWERS])
    wishes = parser.parse_args()
    print(f"| rule | {' | '.join(ATTACKS)} |\n|---|{'---|' * len(ATTACKS)}")
    with tempfile.TemporaryDirectory() as name:
        for rule in wishes.rules:
            cells = []
            for attack in ATTACKS:
                found = [
                    100 * accuracy(rule, attack, seed, wishes.epsilon, Path(name))
                    for seed in range(1, wishes.seeds + 1)
                ]
                half = 2.78 * statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0
                cells.append(f"{statistics.mean(found):.1f} ± {half:.1f}")
            print(f"| {rule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
