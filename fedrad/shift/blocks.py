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
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedrad.errors import DataError
from fedrad.metrics import boundaries, classification, segmentation
from fedrad.protocol.messages import Block
from fedrad.shift import contents, extras, moments
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
    scores: Floats  # (n,) the model's; one that is not finite counts as undecided; of outlines Dice
    extras: Floats | None = None  # (n, numbers) from ``extras.patient_extras``, of CT and MR
    contents: Floats | None = None  # (n, 16) from ``contents.patient_contents``, if they are asked

    def __post_init__(self) -> None:
        rows = [self.moments, self.tags, self.population, self.scores, self.extras, self.contents]
        if len({len(each) for each in rows if each is not None}) > 1:
            raise DataError("all that is known of a window's patients needs the same rows")


@dataclass(frozen=True, slots=True)
class Layout:
    """What is public about a window's blocks: tags, edges and the operating point."""

    tags: tuple[str, ...]
    population: tuple[str, ...]
    edges: tuple[float, ...]  # of scores, or of Dice
    operating_point: float
    kind: Literal["classification", "segmentation"] = "classification"
    extras: tuple[str, ...] = ()  # names of what is told of CT and MR beside
    scales: str = moments.CONSTANTS  # public ones of descriptors
    encoder: str = ""  # public scales of what images show; empty: it is not told
    strata: tuple[str, ...] = ()  # of the population's tags: what is counted at the point in each


@dataclass(frozen=True, slots=True)
class Cases:
    """How well outlines fit, one value a patient; NaN where every reference is empty."""

    dice: Floats
    nsd: Floats
    distance: Floats
    prediction_empty: npt.NDArray[np.bool_]


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
    counts = labels_of(seen.scores, labels, layout, population=seen.population)
    return (*counts, *_images(seen, layout))


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


def labels_window(
    scores: Floats, labels: npt.ArrayLike, layout: Layout, *, population: Floats
) -> tuple[Block, ...]:
    """Return the blocks of a window's patients whose labels came later.

    Args:
        scores: (n,) the model's.
        labels: (n,) 0 or 1.
        layout: What is public.
        population: (n, cells) as in ``Seen``; read where the layout has strata.

    Returns:
        ``labelled, positives, operating, table``, and ``strata`` where they are asked for.
    """
    n, *rest = labels_of(scores, labels, layout, population=population)
    return (_block("labelled", n.values, 1.0), *rest)


def labels_of(
    scores: Floats, labels: npt.ArrayLike, layout: Layout, *, population: Floats
) -> tuple[Block, ...]:
    """Return the counts of labels against scores, of all patients and within strata.

    Returns:
        The blocks of ``classification.blocks``; then ``strata``, for each cell of each stratum
        the four counts of ``operating``, of which a patient has one in each stratum: the root
        of their number is the sensitivity.
    """
    found = classification.blocks(
        scores, labels, edges=layout.edges, operating_point=layout.operating_point
    )
    if not layout.strata:
        return found
    finite = np.where(np.isfinite(scores), scores, classification.UNDECIDED)
    called = np.asarray(finite, dtype=np.float64) >= layout.operating_point
    place = 2 * ~called + (np.asarray(labels) == 0)
    outcome = np.eye(4)[place.astype(int)]
    where = dict(zip(layout.population, cells(layout.population), strict=True))
    rows = np.asarray(population, dtype=np.float64)
    counts = [(rows[:, where[tag]].T @ outcome).ravel() for tag in layout.strata]
    return (*found, _block("strata", np.concatenate(counts), math.sqrt(len(layout.strata))))


def outlines_window(seen: Seen, cases: Cases, layout: Layout) -> tuple[Block, ...]:
    """Return the blocks of a window whose patients have outlines.

    Returns:
        ``n, dice_histogram, dice_sum`` as ``segmentation.blocks``, ``nsd_histogram,
        hd95_histogram`` as ``boundaries.blocks``, then those of images. Sensitivities as for
        ``whole_window``.
    """
    return (
        *segmentation.blocks(cases.dice, cases.prediction_empty, edges=layout.edges),
        *boundaries.blocks(cases.nsd, cases.distance),
        *_images(seen, layout),
    )


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
        "strata": 4 * sum(len(cells_of(tag)) for tag in layout.strata),
        "scores": bins,
        "dice_histogram": bins + segmentation.EMPTY_CELLS,
        "dice_sum": 1,
        **boundaries.CELLS,
        "moments": LENGTH,
        "extras": len(layout.extras),
        "contents": contents.LENGTH,
        "tags": sum(len(cells_of(tag)) for tag in layout.tags),
        "population": sum(len(cells_of(tag)) for tag in layout.population),
    }


def sensitivities(layout: Layout) -> dict[str, float]:
    """Return what one patient can move, in L2 norm, of every block that a window may have."""
    return dict.fromkeys(sizes(layout), 1.0) | {
        "moments": CLIP,
        "extras": extras.CLIP,
        "contents": contents.CLIP,
        "tags": math.sqrt(len(layout.tags)),
        "population": math.sqrt(len(layout.population)),
        "strata": math.sqrt(len(layout.strata)),
    }


def _images(seen: Seen, layout: Layout) -> tuple[Block, ...]:
    return (
        _block("moments", _summed(seen.moments, LENGTH), CLIP),
        _tagged("tags", seen.tags, layout.tags),
        _tagged("population", seen.population, layout.population),
        *_extras(seen, layout),
        *_contents(seen, layout),
    )


def _extras(seen: Seen, layout: Layout) -> tuple[Block, ...]:
    if not layout.extras:
        return ()
    if seen.extras is None:
        raise DataError(f"the layout asks for {', '.join(layout.extras)}, and nothing was measured")
    return (_block("extras", _summed(seen.extras, len(layout.extras)), extras.CLIP),)


def _contents(seen: Seen, layout: Layout) -> tuple[Block, ...]:
    if not layout.encoder:
        return ()
    if seen.contents is None:
        raise DataError("the layout asks for what images show, and no image was encoded")
    return (_block("contents", _summed(seen.contents, contents.LENGTH), contents.CLIP),)


def _tagged(name: str, rows: Floats, tags: tuple[str, ...]) -> Block:
    length = sum(len(cells_of(tag)) for tag in tags)
    return _block(name, _summed(rows, length), math.sqrt(len(tags)))


def _summed(rows: Floats, length: int) -> Floats:
    values = np.asarray(rows, dtype=np.float64).reshape(-1, length)
    return np.asarray(values.sum(axis=0))


def _block(name: str, values: npt.ArrayLike, sensitivity: float) -> Block:
    numbers = np.asarray(values, dtype=np.float64)
    return Block(name=name, values=numbers, sigma=0.0, sensitivity=sensitivity)
