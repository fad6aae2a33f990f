"""Patients of a window for tests: who they are and how they are put together."""

from __future__ import annotations

import numpy as np

from fedrad.privacy.mechanisms import noise_source
from fedrad.shift.blocks import Layout, Seen, images_window, whole_window, window_edges
from fedrad.shift.moments import covariance, patient_moments, scales
from fedrad.shift.reference import Reference, reference_of
from fedrad.shift.tags import acquisition_tags, counted, population_tags
from fedrad.shift.windows import Released
from fedrad.site_report import noised

LAYOUT = Layout(acquisition_tags("DX"), population_tags(), window_edges(200, 0.5), 0.5)
ROOT = np.linalg.cholesky(covariance())
CENTRE, UNIT = scales()
HERE = [{"manufacturer": "SIEMENS", "kvp": "120", "pixel spacing": "0.14"}]
WHO = np.array(
    [
        [
            counted(LAYOUT.population, [{"sex": sex, "age": age}])
            for age in ("9", "30", "50", "70", "80")
        ]
        for sex in ("F", "M")
    ]
)
THERE = [{"manufacturer": "PHILIPS", "kvp": "90", "pixel spacing": "0.14"}]


def together(people: list[tuple[Seen, np.ndarray]]) -> tuple[Seen, np.ndarray]:
    names = ("moments", "tags", "population", "scores")
    columns = {name: np.concatenate([getattr(seen, name) for seen, _ in people]) for name in names}
    return Seen(**columns), np.concatenate([label for _, label in people])


def example() -> tuple[Seen, np.ndarray]:
    seen = Seen(
        moments=patient_moments([np.linspace(-1, 1, 9)])[None],
        tags=counted(LAYOUT.tags, [{"manufacturer": "SIEMENS", "kvp": "120"}])[None],
        population=counted(LAYOUT.population, [{"sex": "F", "age": "62"}])[None],
        scores=np.array([0.7]),
    )
    return seen, np.array([1])


def patients(
    rng: np.random.Generator, *, size: int = 200, brighter: float = 0.0, positives: float = 0.3
) -> tuple[Seen, np.ndarray]:
    """Patients whose descriptors are normal, and a model that is right more often than not."""
    z = 0.2 + rng.standard_normal((size, 9)) @ ROOT.T
    z[:, 0] += brighter
    labels = (rng.uniform(size=size) < positives).astype(int)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + rng.standard_normal(size))))
    seen = Seen(
        moments=np.array([patient_moments([CENTRE + UNIT * row]) for row in z]),
        tags=np.tile(counted(LAYOUT.tags, HERE), (size, 1)),
        population=WHO[rng.integers(0, 2, size), rng.integers(0, 5, size)],
        scores=scores,
    )
    return seen, labels


def window(
    seen: Seen, labels: np.ndarray, *, sigma: float = 2.0, key: int = 0, layout: Layout = LAYOUT
) -> Released:
    rng = noise_source(key.to_bytes(32, "big"))
    return Released(("w",), noised(whole_window(seen, labels, layout), sigma=sigma, rng=rng))


def reference(rng: np.random.Generator, sigma: float = 2.0, key: int = 1000) -> Reference:
    windows = [window(*patients(rng), sigma=sigma, key=key + k) for k in range(6)]
    return reference_of(windows, LAYOUT)


def images_of(seen: Seen, sigma: float = 2.0) -> Released:
    rng = noise_source(bytes(32))
    return Released(("w",), noised(images_window(seen, LAYOUT), sigma=sigma, rng=rng))
