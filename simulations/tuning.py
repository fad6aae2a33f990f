"""Choose a learning rate on training patients only, by the same rule for every arm.

A keyed fifth of each class of a site's training patients is set aside; each candidate rate
trains on the rest and is scored on that fifth; the best wins, ties going to the lower rate.
Test patients take no part. The private arm is not tuned: every private trial would be
charged, so its rate is the task's, fixed beforehand (docs/decisions/0017).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from site_client.training.source import PatientSource, Record

FOLD_SHARE = 5  # one patient in five judges the rates


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the patients of a source, by position."""

    source: PatientSource
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.chosen)

    def record(self, index: int) -> Record:
        """Return the ``index``-th chosen patient."""
        return self.source.record(self.chosen[index])


def fit_part(source: PatientSource) -> Part:
    """Return the four fifths that candidates train on."""
    judges = _judges(source)
    return Part(source, tuple(i for i in range(len(source)) if i not in judges))


def judge_part(source: PatientSource) -> Part:
    """Return the fifth that judges."""
    return Part(source, tuple(sorted(_judges(source))))


def best_rate(scores: Mapping[float, float]) -> float:
    """Return the rate with the highest score; a score that is not finite never wins."""
    finite = {rate: score for rate, score in scores.items() if np.isfinite(score)}
    if not finite:
        return min(scores)
    top = max(finite.values())
    return min(rate for rate, score in finite.items() if score == top)


def _judges(source: PatientSource) -> frozenset[int]:
    """Return every fifth patient of each class, in the order of their keys' digests."""
    by_class: dict[int | None, list[tuple[str, int]]] = defaultdict(list)
    for index in range(len(source)):
        record = source.record(index)
        place = hashlib.sha256(record.key.encode()).hexdigest()
        by_class[record.label].append((place, index))
    return frozenset(i for found in by_class.values() for _, i in sorted(found)[::FOLD_SHARE])
