"""Monitors that see raw rows: what one with all data at hand would say of the same windows.

Four of them, each against the rows of the reference windows: Kolmogorov-Smirnov and chi-squared
tests under Bonferroni; the maximum mean discrepancy [1], in units of what splits of the reference
have at most in 95 %; a classifier of window against reference [2]; and a latent-space monitor
after CheXstray [3], with principal components in place of its autoencoder. The last three have
thresholds that ``python benchmarks/shiftbench/comparators.py`` finds on calibration hospitals.

References:
    [1] Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012.
    [2] Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
    [3] Soin et al., CheXstray: Real-time Multi-Modal Data Concordance for Drift Detection in
        Medical Imaging AI, 2022.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bank import LAYOUT, Floats, Rows
from numpy.typing import NDArray
from scipy.special import chdtrc, expit, kolmogorov
from scipy.stats import rankdata

from fedrad.shift.blocks import cells

NAMES = ("KS", "MMD", "classifier", "latents")
LEVEL = 0.05
DISCREPANCY, CLASSIFIER, LATENTS = 1.11, 1.16, 0.36
"""The 95th percentiles of each on 900 unchanged windows of the calibration hospitals."""
SPLITS = 60  # of the reference, for a null
FOLDS, STEPS, RIDGE = 3, 4, 1.0
_LEAST_SPREAD = 0.1  # of a column: a cell of tags that nobody had is still one

Places = NDArray[np.int64]


class Monitors:
    """All four against one reference."""

    def __init__(self, reference: Sequence[Rows], rng: np.random.Generator) -> None:
        self._rows = stacked(reference)
        self._continuous = np.sort(_continuous(self._rows), axis=0)
        self._within = [np.sort(self._rows.scores[self._rows.labels == k]) for k in (0, 1)]
        self._counts = [column.sum(axis=0) for column in _tables(self._rows)]
        table = _table(self._rows)
        self._mean = table.mean(axis=0)
        cells_of_words = self._rows.tags.shape[1] + self._rows.population.shape[1]
        least = np.repeat([1e-9, _LEAST_SPREAD], [table.shape[1] - cells_of_words, cells_of_words])
        self._unit = np.maximum(table.std(axis=0), least)
        self._own = self._scaled(self._rows)
        size = max(1, len(self._own) // len(reference))
        splits = np.array([rng.permutation(len(self._own)) < size for _ in range(SPLITS)])
        self._kernel_null(splits)
        drawn = np.array([self._latents(split) for split in splits])
        self._usual, self._wide = drawn.mean(axis=0), np.maximum(drawn.std(axis=0), 1e-9)

    def seen(self, window: Rows) -> dict[str, bool]:
        """Return which of the four call a window changed, each at a nominal 5 %."""
        found = self.statistics(window)
        return {
            "KS": found["KS"] < LEVEL,
            "MMD": found["MMD"] > DISCREPANCY,
            "classifier": found["classifier"] > CLASSIFIER,
            "latents": found["latents"] > LATENTS,
        }

    def statistics(self, window: Rows) -> dict[str, float]:
        """Return Bonferroni's p value, and of the others a statistic that is high on a change.

        That of the second is in units of its threshold, of the third a normal deviate, of the
        last a mean of standardised distances.
        """
        return {
            "KS": self._tests(window),
            "MMD": self._discrepancy(self._scaled(window)),
            "classifier": self._told_apart(self._scaled(window)),
            "latents": float(np.mean((self._distances(window) - self._usual) / self._wide)),
        }

    def _tests(self, window: Rows) -> float:
        """KS for nine descriptors and the score, also within each label; else chi-squared."""
        here = np.column_stack([window.raw, window.scores])
        width = here.shape[1]
        found = [_ks(here[:, k], self._continuous[:, k]) for k in range(width)]
        for label, there in enumerate(self._within):
            found.append(_ks(window.scores[window.labels == label], there))
        tables = zip([*_tables(window), np.eye(2)[window.labels]], self._all_counts(), strict=True)
        found += [_homogeneity(a.sum(axis=0), b) for a, b in tables]
        return min(1.0, len(found) * min(found))

    def _all_counts(self) -> list[Floats]:
        return [*self._counts, np.bincount(self._rows.labels, minlength=2).astype(float)]

    def _scaled(self, rows: Rows) -> Floats:
        return (_table(rows) - self._mean) / self._unit

    def _kernel_null(self, splits: NDArray[np.bool_]) -> None:
        """Keep the kernel's width, its mean over the reference, and the statistic's threshold.

        Under the null it has variance proportional to (1/m + 1/n)², so a split of the reference
        into sizes other than a window's tells by that much more.
        """
        own = self._own.astype(np.float32)
        square = _squares(own, own)
        self._width = float(np.median(square[np.triu_indices(len(own), 1)]))
        kernel = np.exp(-square / self._width)
        np.fill_diagonal(kernel, 0.0)
        self._within_kernel = float(kernel.sum()) / (len(own) * (len(own) - 1))
        a, b = splits.T.astype(np.float32), (~splits).T.astype(np.float32)
        on_a, on_b = kernel @ a, kernel @ b
        m, n = int(splits[0].sum()), len(own) - int(splits[0].sum())
        null = (a * on_a).sum(axis=0) / (m * (m - 1)) + (b * on_b).sum(axis=0) / (n * (n - 1))
        null -= 2 * (a * on_b).sum(axis=0) / (m * n)
        self._threshold = float(np.quantile(null, 1 - LEVEL)) / (1 / m + 1 / n)

    def _discrepancy(self, window: Floats) -> float:
        """Return the unbiased squared MMD over its threshold for this size."""
        here, own = window.astype(np.float32), self._own.astype(np.float32)
        m, n = len(here), len(own)
        across = float(np.exp(-_squares(here, own) / self._width).mean())
        within = float(np.exp(-_squares(here, here) / self._width).sum() - m) / (m * (m - 1))
        found = within + self._within_kernel - 2 * across
        return found / (max(self._threshold, 1e-12) * (1 / m + 1 / n))

    def _told_apart(self, window: Floats) -> float:
        """Return the cross-validated AUROC of a logistic regression, as a normal deviate."""
        x = np.vstack([self._own, window])
        x = np.column_stack([x[:, np.ptp(x, axis=0) > 0], np.ones(len(x))])
        y = np.repeat([0.0, 1.0], [len(self._own), len(window)])
        fold = np.concatenate([np.arange(len(self._own)), np.arange(len(window))]) % FOLDS
        ranks = np.empty(len(x))
        for k in range(FOLDS):
            margin = x[fold == k] @ logistic(x[fold != k], y[fold != k])
            ranks[fold == k] = (rankdata(margin) - 0.5) / len(margin)
        n, m = len(self._own), len(window)
        area = 0.5 + (ranks[y == 1].mean() - ranks[y == 0].mean()) / 2
        return float((area - 0.5) / np.sqrt((n + m + 1) / (12 * n * m)))

    def _distances(self, window: Rows) -> Floats:
        """Return scaled distances of each latent, score, tag, sex and age to the reference."""
        here, there = _latent_columns(window), _latent_columns(self._rows)
        return _scaled_distances(here, there, _tables(window), self._counts)

    def _latents(self, split: NDArray[np.bool_]) -> Floats:
        """Return the same of some of the reference against the rest of it."""
        columns, tables = _latent_columns(self._rows), _tables(self._rows)
        rest = [table[~split].sum(axis=0) for table in tables]
        here = [table[split] for table in tables]
        return _scaled_distances(columns[split], columns[~split], here, rest)


def stacked(rows: Sequence[Rows]) -> Rows:
    """Return the rows of several windows as one."""
    names = Rows.__dataclass_fields__
    return Rows(**{name: np.concatenate([getattr(one, name) for one in rows]) for name in names})


def _continuous(rows: Rows) -> Floats:
    return np.column_stack([rows.raw, rows.scores])


def _latent_columns(rows: Rows) -> Floats:
    return np.column_stack([rows.latent, rows.scores])


def _table(rows: Rows) -> Floats:
    return np.column_stack([rows.raw, rows.latent, rows.scores, rows.tags, rows.population])


def _tables(rows: Rows) -> list[Floats]:
    tags = [rows.tags[:, place] for place in cells(LAYOUT.tags)]
    return [*tags, *(rows.population[:, place] for place in cells(LAYOUT.population))]


def _squares(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(found, 0.0), dtype=np.float32)


def logistic(x: Floats, y: Floats) -> Floats:
    """Return weights of a ridge logistic regression after a few steps of Newton's method."""
    weights = np.zeros(x.shape[1])
    ridge = RIDGE * np.eye(x.shape[1])
    for _ in range(STEPS):
        p = expit(x @ weights)
        curve = (x * (p * (1 - p))[:, None]).T @ x + ridge
        weights += np.linalg.solve(curve, x.T @ (y - p) - RIDGE * weights)
    return weights


def farthest(a: Floats, ordered: Floats) -> float:
    """Return the largest distance of two distribution functions, the second's values sorted."""
    mine = np.sort(a)
    here = np.searchsorted(ordered, mine, side="right") / len(ordered)
    left = np.searchsorted(ordered, mine, side="left") / len(ordered)
    steps = np.arange(len(mine) + 1) / len(mine)
    return float(max(np.max(steps[1:] - here), np.max(left - steps[:-1])))


def _ks(a: Floats, ordered: Floats) -> float:
    if not len(a) or not len(ordered):
        return 1.0
    size = len(a) * len(ordered) / (len(a) + len(ordered))
    return float(kolmogorov(np.sqrt(size) * farthest(a, ordered)))


def _homogeneity(a: Floats, b: Floats) -> float:
    square, free = _chi_squared(a, b)
    return float(chdtrc(free, square)) if free else 1.0


def _chi_squared(a: Floats, b: Floats) -> tuple[float, int]:
    seen = (a + b) > 0
    table = np.stack([a[seen], b[seen]])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float((np.square(table - expected) / expected).sum()), int(seen.sum()) - 1


def _scaled_distances(
    here: Floats, there: Floats, tables: Sequence[Floats], counts: Sequence[Floats]
) -> Floats:
    size = np.sqrt(len(here) * len(there) / (len(here) + len(there)))
    ordered = np.sort(there, axis=0)
    found = [size * farthest(here[:, k], ordered[:, k]) for k in range(here.shape[1])]
    pairs = zip(tables, counts, strict=True)
    found += [float(np.sqrt(_chi_squared(a.sum(axis=0), b)[0])) for a, b in pairs]
    return np.array(found)


def calibrate(folder: Path, *, patients: int, draws: int) -> dict[str, tuple[float, int]]:
    """Return the 95th percentile of each statistic on unchanged windows, and how many."""
    from bank import HOSPITALS, SCORED
    from draws import Hospital
    from trials import WINDOWS

    from fedrad import seeds

    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for site in (name for name in HOSPITALS if name not in SCORED):
        for draw in range(draws):
            rng = seeds.stream(1, site, draw, "shiftbench comparators")
            hospital = Hospital(site, rng, bank=(folder, patients))
            monitors = Monitors([hospital.window() for _ in range(WINDOWS)], rng)
            for _ in range(15):
                for name, value in monitors.statistics(hospital.window()).items():
                    found[name].append(value)
    return {name: (float(np.quantile(v, 0.95)), len(v)) for name, v in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=12_800)
    parser.add_argument("--draws", type=int, default=40)
    given = parser.parse_args()
    for name, (value, windows) in calibrate(**vars(given)).items():
        print(f"{name}: {value:.3f} at the 95th percentile of {windows} windows")
