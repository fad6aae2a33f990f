"""What a site should know of its labels before it trains: who is positive where, who agrees.

For the hospital's own eyes: exact numbers, charged to nobody, never sent. A label that follows
the scanner is the classic trap: a network then learns the scanner. The unit is the patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from site_client.agreement import Agreement, cohen_agreement, fleiss_agreement

FLAG_P, FLAG_V = 0.01, 0.2  # both must be passed before a label is said to follow something
POWER = 0.8
_FEWEST = 5  # patients of a group that takes part in the statistic
_DRAWS = 20_000
_MOST_GROUPS = 12  # more different values are no grouping


@dataclass(frozen=True, slots=True)
class Group:
    """The labelled patients of one source, reader or scanner."""

    name: str
    patients: int
    positive: int
    lo: float  # 95 % Wilson interval of the share
    hi: float


@dataclass(frozen=True, slots=True)
class Following:
    """Whether the label follows a grouping, and what could have been seen."""

    patients: int
    v: float | None = None  # Cramer's V, 0 to 1; None where there are not two groups
    p: float | None = None  # chance of such a V if labels were dealt at random
    visible_v: float | None = None  # the V that would have been flagged 8 times of 10

    @property
    def flagged(self) -> bool:
        """Whether to warn: too strong for chance and strong enough to matter."""
        return self.p is not None and self.v is not None and self.p < FLAG_P and self.v >= FLAG_V


@dataclass(frozen=True, slots=True)
class Grouping:
    """Prevalence by one thing, and whether the label follows it."""

    by: str  # source, reader or scanner
    groups: tuple[Group, ...]
    following: Following
    values: int  # how many different ones there are; more than are shown if it is no grouping


@dataclass(frozen=True, slots=True)
class Readers:
    """Agreement of every pair of readers, and of all."""

    pairs: tuple[tuple[str, str, Agreement], ...]
    everybody: Agreement


def scanners_of(images: pd.DataFrame) -> pd.Series:
    """Return each patient's scanner: maker, model and device, the most frequent of its images."""
    known = images["device"].str[:6]
    names = (images["maker"].replace("", "unknown maker") + " " + known).str.strip()
    return names.groupby(images["patient"]).agg(lambda found: found.value_counts().index[0])


def group_patients(
    by: str, groups: pd.Series, positive: pd.Series, rng: np.random.Generator
) -> Grouping:
    """Return the prevalence by group and whether the label follows it.

    Args:
        by: What the groups are.
        groups: Patient to group; patients without one are left out.
        positive: Patient to whether the label is positive.
        rng: For the permutations.
    """
    return _grouped(by, pd.DataFrame({"group": groups, "positive": positive}).dropna(), rng)


def group_readers(votes: pd.DataFrame, positive: int, rng: np.random.Generator) -> Grouping:
    """Return each reader's own prevalence: of the patients it read, whom it called positive.

    Whether the label follows the reader is tested only where no patient has two readers: else
    the groups are not independent, and ``reader_agreement`` says more.

    Args:
        votes: Columns ``patient``, ``reader`` and ``value``.
        positive: The class index that counts.
        rng: For the permutations.
    """
    named = votes[votes["reader"] != ""]
    called = (named["value"] == positive).groupby([named["patient"], named["reader"]]).any()
    own = called.rename("positive").rename_axis(["patient", "group"]).reset_index()
    found = _grouped("reader", own[["group", "positive"]], rng)
    if own["patient"].duplicated().any():
        return replace(found, following=Following(own["patient"].nunique()))
    return found


def _grouped(by: str, both: pd.DataFrame, rng: np.random.Generator) -> Grouping:
    both = both[both["group"] != ""]
    found = both.groupby("group")["positive"].agg(["size", "sum"])
    shown = tuple(_group(str(n), int(row["size"]), int(row["sum"])) for n, row in found.iterrows())
    if len(shown) > _MOST_GROUPS:
        return Grouping(by, (), Following(len(both)), len(shown))
    return Grouping(by, shown, _following(both, rng), len(shown))


def sources_of(votes: pd.DataFrame) -> pd.Series:
    """Return each patient's source: the most frequent of its votes that name one."""
    named = votes[votes["source"] != ""]
    return named.groupby("patient")["source"].agg(lambda found: found.value_counts().index[0])


def reader_agreement(votes: pd.DataFrame, rng: np.random.Generator) -> Readers:
    """Return how well named readers agree on the exams (and sides) that several of them read.

    Args:
        votes: Columns ``key``, ``side``, ``reader`` and ``value``, from ``labels.match_votes``.
        rng: For the bootstrap.
    """
    named = votes[votes["reader"] != ""]
    table = named.pivot_table(
        index=["key", "side"], columns="reader", values="value", aggfunc="last"
    )
    several = table[table.notna().sum(axis=1) >= 2]
    pairs = tuple(_pairs(several, rng))
    classes = int(several.max().max()) + 1 if len(several) else 0
    counts = [[int((row == one).sum()) for one in range(classes)] for row in several.to_numpy()]
    everybody = fleiss_agreement(np.array(counts, np.int64).reshape(len(several), classes), rng)
    return Readers(pairs, everybody)


def _pairs(table: pd.DataFrame, rng: np.random.Generator) -> Iterator[tuple[str, str, Agreement]]:
    for first, second in combinations(table.columns[:_MOST_GROUPS], 2):
        both = table[[first, second]].dropna().to_numpy(np.int64)
        if len(both):
            yield str(first), str(second), cohen_agreement(both[:, 0], both[:, 1], rng)


def _group(name: str, patients: int, positive: int) -> Group:
    interval = stats.binomtest(positive, patients).proportion_ci(method="wilson")
    return Group(name, patients, positive, float(interval.low), float(interval.high))


def _following(both: pd.DataFrame, rng: np.random.Generator) -> Following:
    """Cramer's V with a permutation test: exact for small groups where chi-square is not."""
    members = both["group"].map(both["group"].value_counts())
    both = both[members >= _FEWEST]
    table = both.groupby("group")["positive"].agg(["size", "sum"]).to_numpy(np.int64)
    sizes, ill = table[:, 0], table[:, 1]
    if len(sizes) < 2 or not 0 < ill.sum() < sizes.sum():
        return Following(len(both))
    found = float(_chi_square(sizes, ill))
    # Labels dealt anew among the patients: the positives of each group are hypergeometric.
    drawn = rng.multivariate_hypergeometric(sizes, int(ill.sum()), size=_DRAWS)
    p = (1 + int((_chi_square(sizes, drawn) >= found - 1e-9).sum())) / (1 + _DRAWS)
    visible = _visible(len(both), len(sizes) - 1)
    return Following(len(both), float(np.sqrt(found / len(both))), p, visible)


def _chi_square(sizes: NDArray[np.int64], ill: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson's statistic of a table with two columns, over the last axis; V squared is it / n."""
    share = ill.sum(axis=-1, keepdims=True) / sizes.sum()
    each = (ill - sizes * share) ** 2 / (sizes * share * (1 - share))
    return np.asarray(each.sum(axis=-1), np.float64)


def _visible(patients: int, freedom: int) -> float:
    """The V whose chi-square passes the limit with the chance ``POWER`` (noncentral, n V^2)."""
    limit = stats.chi2.isf(FLAG_P, freedom)
    shift = optimize.brentq(lambda nc: stats.ncx2.sf(limit, freedom, nc) - POWER, 1e-6, 1e3)
    return max(FLAG_V, float(np.sqrt(shift / patients)))
