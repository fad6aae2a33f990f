"""One patient moves one window's sums by what is stated, and no more."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_patients import LAYOUT, example, together

from fedrad.errors import DataError
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import (
    Seen,
    cells,
    images_window,
    labels_window,
    whole_window,
    window_edges,
)
from fedrad.shift.moments import CLIP, patient_moments
from fedrad.shift.tags import counted
from fedrad.site_report import deviation, noised, shares_of

wild = st.floats(allow_nan=True, allow_infinity=True)
said = st.fixed_dictionaries(
    {"manufacturer": st.sampled_from(["Siemens", "GE MEDICAL", "me"]), "kvp": st.text(max_size=4)}
)


@st.composite
def patients(draw: st.DrawFn) -> tuple[Seen, np.ndarray]:
    """One patient of any images, tags, score and label."""
    images = draw(st.lists(st.lists(wild, min_size=9, max_size=9), min_size=1, max_size=3))
    tags = draw(st.lists(said, max_size=3))
    who = {"sex": draw(st.sampled_from(["F", "X"])), "age": draw(st.sampled_from(["50", ""]))}
    seen = Seen(
        moments=patient_moments(images)[None],
        tags=counted(LAYOUT.tags, tags)[None],
        population=counted(LAYOUT.population, [who])[None],
        scores=np.array([draw(wild)]),
    )
    return seen, np.array([draw(st.integers(0, 1))])


def moved(before: tuple[Block, ...], after: tuple[Block, ...]) -> float:
    """The L2 distance on the scale of the joint mechanism."""
    shares = shares_of(before)
    parts = [
        np.linalg.norm(a.values - b.values) / a.sensitivity * math.sqrt(shares[a.name])
        for a, b in zip(before, after, strict=True)
    ]
    return math.hypot(*parts)


@settings(max_examples=25)
@given(st.lists(patients(), min_size=2, max_size=3))
def test_a_patient_moves_each_release_of_their_window_by_at_most_one(
    people: list[tuple[Seen, np.ndarray]],
) -> None:
    (seen, labels), (fewer, fewer_labels) = together(people), together(people[1:])
    for after, before in (
        (whole_window(seen, labels, LAYOUT), whole_window(fewer, fewer_labels, LAYOUT)),
        (images_window(seen, LAYOUT), images_window(fewer, LAYOUT)),
        (
            labels_window(seen.scores, labels, LAYOUT, population=seen.population),
            labels_window(fewer.scores, fewer_labels, LAYOUT, population=fewer.population),
        ),
    ):
        assert 0 < moved(before, after) <= 1 + 1e-9
        assert all(np.isfinite(block.values).all() for block in after)


@pytest.mark.parametrize("kind", [whole_window, images_window])
def test_the_noise_of_a_window_is_that_of_one_release(kind: object) -> None:
    seen, labels = together([example()] * 3)
    blocks = (
        whole_window(seen, labels, LAYOUT) if kind is whole_window else images_window(seen, LAYOUT)
    )
    shares = shares_of(blocks)
    assert math.fsum(shares.values()) == pytest.approx(1)
    noisy = noised(blocks, sigma=2.0, rng=noise_source())
    assert sum(b.sensitivity**2 / b.sigma**2 for b in noisy) ** -0.5 == pytest.approx(2.0)
    moments = next(block for block in noisy if block.name == "moments")
    assert moments.sigma == deviation(moments, sigma=2.0, share=shares["moments"])
    assert moments.sensitivity == CLIP


def test_a_window_without_patients_has_the_same_shape() -> None:
    seen, labels = together([example()])
    nobody = Seen(seen.moments[:0], seen.tags[:0], seen.population[:0], seen.scores[:0])
    for a, b in zip(
        whole_window(nobody, labels[:0], LAYOUT), whole_window(seen, labels, LAYOUT), strict=True
    ):
        assert a.values.shape == b.values.shape
        assert not a.values.any()


def test_every_tag_counts_every_patient_once() -> None:
    seen, labels = together([example()] * 7)
    blocks = {block.name: block.values for block in whole_window(seen, labels, LAYOUT)}
    for place in cells(LAYOUT.tags):
        assert blocks["tags"][place].sum() == pytest.approx(7)
    for place in cells(LAYOUT.population):
        assert blocks["population"][place].sum() == pytest.approx(7)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    seen, _ = together([example()] * 2)
    with pytest.raises(DataError, match="the same rows"):
        replace(seen, scores=seen.scores[:1])


@given(st.integers(10, 2000), st.floats(0.02, 0.98))
def test_edges_are_public_and_hold_the_operating_point(agreed: int, point: float) -> None:
    edges = window_edges(agreed, point)
    assert len(edges) == (9 if agreed <= 200 else 13)
    assert (edges[0], edges[-1]) == (0, 1)
    assert point in edges
    assert all(a < b for a, b in itertools.pairwise(edges))
