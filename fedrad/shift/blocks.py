"""The sums of one window of patients, before any noise, each with its sensitivity.

Three kinds of window. One with truth tells everything at once; one without tells images,
tags, population and scores when it closes, and its labels in a second release. Each kind is
one joint Gaussian release whose shares are in ``fedrad.site_report``. A patient is in one
window and counts once in each block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError
from fedrad.metrics import classification
from fedrad.protocol.messages import Block
from fedrad.shift.moments import CLIP, LENGTH
from fedrad.shift.tags import cells_of

Floats = npt.NDArray[np.float64]

FEW = 200  # agreed patients of a window up to which the table has ``FEW_BINS``
FEW_BINS, MANY_BINS = 8, 12


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a window's patients without their labels; rows are patients."""

    moments: Floats  # (n, 18) from ``moments.patient_moments``
    tags: Floats  # (n, cells) from ``tags.counted`` of the modality's tags
    population: Floats  # (n, cells) from ``tags.counted`` of the population's
    scores: Floats  # (n,) the model's; one that is not finite counts as undecided

    def __post_init__(self) -> None:
        if {len(self.moments), len(self.tags), len(self.population)} != {len(self.scores)}:
            raise DataError("a window's moments, tags, population and scores need the same rows")


@dataclass(frozen=True, slots=True)
class Layout:
    """What is public about a window's blocks: tags, edges and the operating point."""

    tags: tuple[str, ...]
    population: tuple[str, ...]
    edges: tuple[float, ...]
    operating_point: float


def window_edges(patients_agreed: int, operating_point: float) -> tuple[float, ...]:
    """Return public edges of scores: evenly spaced on both sides of the operating point.

    Eight bins up to 200 agreed patients a window, twelve above: with noise in every cell,
    fewer bins lose less than they blur.

    Args:
        patients_agreed: Public number of patients of a window.
        operating_point: In (0, 1).
    """
    bins = FEW_BINS if patients_agreed <= FEW else MANY_BINS
    below = min(max(round(bins * operating_point), 1), bins - 1)
    left = np.linspace(0.0, operating_point, below + 1)
    right = np.linspace(operating_point, 1.0, bins - below + 1)
    return tuple(float(edge) for edge in [*left, *right[1:]])


def whole_window(seen: Seen, labels: npt.ArrayLike, layout: Layout) -> tuple[Block, ...]:
    """Return the blocks of a window whose labels are all known.

    Returns:
        ``n, positives, operating, table`` as ``classification.blocks``, then ``moments,
        tags, population``. Sensitivities: 1 for counts, ``CLIP`` for moments, the root of
        the number of tags for tags.
    """
    return (*_counts(seen, labels, layout), *_images(seen, layout))


def images_window(seen: Seen, layout: Layout) -> tuple[Block, ...]:
    """Return the blocks of a window when it closes: ``seen, scores`` and those of images."""
    finite = np.where(np.isfinite(seen.scores), seen.scores, classification.UNDECIDED)
    place = np.searchsorted(layout.edges[1:-1], np.clip(finite, 0.0, 1.0), side="right")
    scores = np.bincount(place, minlength=len(layout.edges) - 1)
    return (
        _block("seen", [len(finite)], 1.0),
        _block("scores", scores, 1.0),
        *_images(seen, layout),
    )


def labels_window(scores: Floats, labels: npt.ArrayLike, layout: Layout) -> tuple[Block, ...]:
    """Return the blocks of a window's patients whose labels came later.

    Returns:
        ``labelled, positives, operating, table``.
    """
    n, *rest = classification.blocks(
        scores, labels, edges=layout.edges, operating_point=layout.operating_point
    )
    return (_block("labelled", n.values, 1.0), *rest)


def cells(tags: Sequence[str]) -> tuple[slice, ...]:
    """Return where each tag's cells are among those of several tags."""
    ends = np.cumsum([len(cells_of(tag)) for tag in tags])
    return tuple(
        slice(int(end) - len(cells_of(tag)), int(end)) for tag, end in zip(tags, ends, strict=True)
    )


def sizes(layout: Layout) -> dict[str, int]:
    """Return the length of every block that a window may have."""
    bins = len(layout.edges) - 1
    return {
        **dict.fromkeys(("n", "seen", "labelled", "positives"), 1),
        "operating": 4,
        "table": 2 * bins,
        "scores": bins,
        "moments": LENGTH,
        "tags": sum(len(cells_of(tag)) for tag in layout.tags),
        "population": sum(len(cells_of(tag)) for tag in layout.population),
    }


def _counts(seen: Seen, labels: npt.ArrayLike, layout: Layout) -> tuple[Block, ...]:
    return classification.blocks(
        seen.scores, labels, edges=layout.edges, operating_point=layout.operating_point
    )


def _images(seen: Seen, layout: Layout) -> tuple[Block, ...]:
    return (
        _block("moments", _summed(seen.moments, LENGTH), CLIP),
        _tagged("tags", seen.tags, layout.tags),
        _tagged("population", seen.population, layout.population),
    )


def _tagged(name: str, rows: Floats, tags: tuple[str, ...]) -> Block:
    length = sum(len(cells_of(tag)) for tag in tags)
    return _block(name, _summed(rows, length), math.sqrt(len(tags)))


def _summed(rows: Floats, length: int) -> Floats:
    values = np.asarray(rows, dtype=np.float64).reshape(-1, length)
    return np.asarray(values.sum(axis=0))


def _block(name: str, values: npt.ArrayLike, sensitivity: float) -> Block:
    numbers = np.asarray(values, dtype=np.float64)
    return Block(name=name, values=numbers, sigma=0.0, sensitivity=sensitivity)
