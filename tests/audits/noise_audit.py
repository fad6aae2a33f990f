"""Audit the noise of private steps by its numbers: how much there is, and what it depends on.

``audit_noise`` judges one function, ``(sum, source) -> noised mean``; ``audit_rounds`` whole
rounds of training. Each returns sentences, none where nothing is wrong. With a random key a
sound function would be accused with a probability of at most ``FALSE_ALARM``; the keys are
fixed, so that a test gives the same answer every time. The defects they must find are planted
by the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from scipy.stats import chi2, kstest, norm

from fedrad.privacy.mechanisms import noise_source
from site_client.training.gradients import GradientSum, Tensors
from site_client.training.private import ROUNDING_MARGIN

Noised = Callable[[GradientSum, np.random.Generator], Tensors]
Round = Callable[[np.random.Generator], Mapping[str, np.ndarray]]
Streams = dict[str, np.ndarray]  # what it is -> its noise in units of the claimed deviation

FALSE_ALARM = 1e-6  # of one audit
SHAPES = {
    "kernel": (16, 8, 8, 8),
    "bias": (16,),
    "matrix": (64, 128),
    "scale": (1,),
    "last": (8192,),
}
SOURCES = {"site A, round 1": 1, "site A, round 2": 2, "site B, round 1": 3}
STEPS = 3


def audit_noise(noised: Noised, *, std: float, divisor: float) -> list[str]:
    """Return what is wrong with the noise that a function adds to sums.

    Args:
        noised: Called for ``STEPS`` steps with each source, one after the other.
        std: The deviation claimed for every element of the sum.
        divisor: What the noised sum is claimed to be divided by.
    """
    streams: Streams = {}
    for source, number in SOURCES.items():
        rng = noise_source(bytes([number]) * 32)
        for step in range(STEPS):
            exact = _sums(10 * number + step, std)
            total = {name: torch.from_numpy(value.copy()) for name, value in exact.items()}
            released = noised(GradientSum(total, 0), rng)
            for name, value in exact.items():
                noise = released[name].double().numpy() * divisor - value
                streams[f"{source}, step {step + 1}, {name}"] = noise.ravel() / std
    return [*_deviations(streams), *_shapes(streams), *_repeats(streams)]


def audit_rounds(train: Round, *, deviation: float, steps: int) -> list[str]:
    """Return what is wrong with the noise in the updates of whole rounds without a patient.

    Args:
        train: Trains one round with a source of noise on nobody; returns its update.
        deviation: That of one step's noise in one number of the update.
        steps: The steps of a round; their noise adds up.
    """
    streams: Streams = {}
    for source, number in SOURCES.items():
        update = train(noise_source(bytes([number]) * 32))
        for name, value in update.items():
            noise = value.astype(np.float64).ravel() / (deviation * np.sqrt(steps))
            streams[f"{source}, {name}"] = noise
    return [*_deviations(streams), *_repeats(streams)]


def _sums(seed: int, std: float) -> dict[str, np.ndarray]:
    """Draw sums of a few patients' gradients, in size like the noise."""
    rng = np.random.default_rng(seed)
    return {k: (std * rng.standard_normal(s)).astype(np.float32) for k, s in SHAPES.items()}


def _deviations(streams: Streams) -> Iterator[str]:
    """Yield where the sum of squares is not that of the claimed deviation, tensor by tensor.

    Noise may be larger than claimed by the margin that the code declares, not smaller.
    """
    level = FALSE_ALARM / 6 / (len(streams) + 1)
    everything = {"all of them together": np.concatenate(list(streams.values()))}
    for name, noise in (streams | everything).items():
        energy, count = float(np.square(noise).sum()), noise.size
        if chi2.cdf(energy, count) < level:
            yield f"less noise than claimed in {name}: {np.sqrt(energy / count):.3f} of it"
        if chi2.sf(energy / (1 + ROUNDING_MARGIN) ** 2, count) < level:
            yield f"more noise than claimed in {name}: {np.sqrt(energy / count):.3f} of it"
        if abs(noise.sum()) > norm.isf(level) * (1 + ROUNDING_MARGIN) * np.sqrt(count):
            yield f"noise with a mean in {name}: {noise.mean():.3f}"


def _shapes(streams: Streams) -> Iterator[str]:
    """Yield where the noise is not normal."""
    for name, noise in streams.items():
        if kstest(noise, "norm").pvalue < FALSE_ALARM / 6 / len(streams):
            yield f"noise that is not normal in {name}"


def _repeats(streams: Streams) -> Iterator[str]:
    """Yield pairs of streams that go together at any shift against each other.

    A stream against itself is asked at every shift but none: noise used twice within it.
    """
    long = {name: noise for name, noise in streams.items() if noise.size >= 64}
    spectra = {name: _spectrum(noise) for name, noise in long.items()}
    pairs = list(itertools.combinations_with_replacement(long, 2))
    for one, other in pairs:
        count = min(long[one].size, long[other].size)
        together = np.fft.irfft(spectra[one] * spectra[other].conj()) / np.sqrt(count)
        if one == other:
            together[0] = 0
        threshold = norm.isf(FALSE_ALARM / 6 / len(pairs) / together.size)
        if np.abs(together).max() > threshold:
            yield f"the noise of {one} goes with that of {other}"


def _spectrum(noise: np.ndarray) -> np.ndarray:
    scaled = noise / (np.sqrt(np.mean(noise**2)) + 1e-300)
    return np.fft.rfft(scaled, 2**15)
